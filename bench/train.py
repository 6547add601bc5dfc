"""Training a stack: K runs of one shape as one program.

A step is one forward and one backward pass over the ``(K, P)`` weights of all members. Every
``log_every`` steps each member gets a row of its curve, with its validation loss, and what ended
leaves: a *diverged* member (NaN or infinite loss) by itself, *pruned* ones at a rung of successive
halving (Jamieson & Talwalkar, arXiv 1502.07943), where only the trials with the lowest validation
loss, averaged over their seeds, go on.

A growth method may act on the training of its targets (``mugrow.bench.growth.During``): train other
tensors than those the model runs on, slow or freeze some, weigh coordinates in the norms. Those
hooks are asked at every step, and nothing else in this file knows of any method.

Everything a step depends on is in ``StackState``, and batches are a function of (data seed, step).
So a stack that is saved, killed and loaded goes on exactly, bit for bit, as if nothing happened.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from mugrow.bench import data_parallel, flops, schedule
from mugrow.bench.asymmetry import asymmetry
from mugrow.bench.averaging import is_whole, update
from mugrow.bench.compiled import loss_and_gradient
from mugrow.bench.data.batches import TokenData, val_windows
from mugrow.bench.data.placed import DeviceTokens, HostTokens, placed
from mugrow.bench.data_parallel import ALONE, Ranks, Shards, shards_of
from mugrow.bench.feed import Feed, next_steps
from mugrow.bench.final_evaluation import final_windows
from mugrow.bench.fused_adamw import FusedAdamW
from mugrow.bench.model import Decoder, Shapes, Weights, flatten, fused
from mugrow.bench.modules import by_tensor
from mugrow.bench.optim import trainers_of
from mugrow.bench.parametrization import generator, hyper_of, rules_of
from mugrow.bench.precision import float32_products
from mugrow.bench.products import by_onednn
from mugrow.bench.spec import ModelSpec, RunSpec
from mugrow.bench.split import chunk_tokens
from mugrow.bench.stack import Stack, StackState, begin, model_weights, pack, trained_shapes, unpack
from mugrow.bench.stacked_optimizer import OptimizerState, StackedOptimizer, stacked_optimizer
from mugrow.bench.switches import one_thread

Result = TypeVar("Result")

GROUP_BYTES = 5 << 20  # at most, of the MLP's activation of the members that a CPU takes together
ALONE_WIDTH = 128  # from here on one member at a time: a batch of large products is slower
LISTED_BYTES = 16 << 20  # of a gradient that a backward pass may hold beside the one that is kept


@dataclass(frozen=True)
class _Group:
    """Members that are taken together: their rows of the storage, as views. What is trained stays
    where it lies until a member leaves, so they are made once and not in every step."""

    model: ModelSpec
    state: OptimizerState
    optimizer: StackedOptimizer
    gradient_KP: Tensor

    @cached_property
    def kernel(self) -> FusedAdamW | None:
        """What updates them at once, if anything does."""
        return self.optimizer.kernel(self.state, self.gradient_KP)

    @cached_property
    def leaves(self) -> tuple[Weights, list[Tensor], list[Tensor]]:
        """The ``fused`` weights, those again, and their gradients."""
        return self.fresh_leaves()

    def fresh_leaves(self) -> tuple[Weights, list[Tensor], list[Tensor]]:
        """``leaves``, made anew."""
        # .data and not .detach(), which would share a version counter with the members that other
        # threads update in the same storage meanwhile
        weights = fused(self.model, self.state.weights_KP.data)
        for tensor in weights.values():
            tensor.requires_grad_()
        return weights, [*weights.values()], [*fused(self.model, self.gradient_KP).values()]


@dataclass
class _Program:
    """What is rebuilt, not saved, when a stack starts or shrinks."""

    stack: Stack
    data: TokenData
    state: StackState
    ranks: Ranks = ALONE
    decoder: Decoder = field(init=False)
    trained: Shapes = field(init=False)
    optimizer: StackedOptimizer = field(init=False)
    shards: Shards = field(init=False)
    gradient_KP: Tensor = field(init=False)
    val_WT: Tensor = field(init=False)
    ahead: Feed | None = field(init=False, default=None)
    groups: dict[tuple[int, int], _Group] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        spec = self.stack.specs[0]
        rules = rules_of(spec.parametrization, spec.model, spec.base)
        self.decoder = Decoder(
            spec.model,
            rules.multipliers,
            precision=spec.precision,
            recompute=self.state.split is not None and self.state.split.recompute,
            keep_probabilities=self.state.split is None,  # a split is of a stated memory
        )
        self.trained = trained_shapes(self.stack)
        if spec.train_steps:  # an imported model is large, and only evaluated
            hypers = [by_tensor(each.model, hyper_of(each)) for each in self.specs]
            trainers = trainers_of(spec.optimizer, spec.parametrization, spec.model, spec.base)
            weights_KP = self.state.optimizer.weights_KP
            self.optimizer = stacked_optimizer(self.trained, rules, trainers, hypers, weights_KP)
            self.gradient_KP = torch.zeros_like(weights_KP)
            if self.ranks.count > 1:
                self.shards = shards_of(self.stack, self.ranks)
                ours = self.shards[self.ranks.rank]
                self.optimizer = data_parallel.within(self.optimizer, ours)
        windows = val_windows(self.data.val, spec.model.context, spec.data.val_tokens)
        self.val_WT = torch.from_numpy(windows).to(self.stack.device)

    @cached_property
    def uses_onednn(self) -> bool:
        """Whether a CPU's products are oneDNN's."""
        model = self.decoder.spec
        short = self.decoder.writes_attention_out(model.context)
        return short and by_onednn(model, self.micro_batch * model.context)

    @property
    def specs(self) -> list[RunSpec]:
        """The specs of the members still in the stack."""
        return [self.stack.specs[i] for i in self.state.alive]

    @cached_property
    def tokens(self) -> HostTokens | DeviceTokens:
        """What is trained on."""
        return placed(self.data.train, self.stack.device, self.stack.token_room_bytes)

    @property
    def feed(self) -> Feed:
        """What this step and the next ones of these members are fed."""
        if self.ahead is None or not self.ahead.has(self.state.step):
            weights_KP = self.state.optimizer.weights_KP
            self.ahead = next_steps(
                self.specs, self.state.step, self.tokens, weights_KP, self.ranks
            )
        return self.ahead

    def train_step(self) -> Tensor:
        """One update of every member; returns gradient norms ``(K,)``."""
        state, factors_KP = self.state, self.rate_factors()
        tokens = self.feed.batch(state.step)
        decoder, batch_sequences = self.decoder_now(), self.stack.specs[0].batch_sequences

        def backward(rows: slice) -> Tensor:
            group = self.group(rows)
            weights_KP, gradient_KP = group.state.weights_KP, group.gradient_KP
            chunk = chunk_tokens(decoder.spec, len(gradient_KP))
            parts = []
            for i, part in enumerate(torch.split(tokens[rows], self.micro_batch, dim=1)):
                share = part.shape[1] / batch_sequences
                if state.compiled:
                    loss_K = loss_and_gradient(
                        decoder, weights_KP, part, gradient_KP, share, first=i == 0
                    )
                else:
                    weights, leaves, gradients = self.differentiable(group, rows)
                    loss_K = decoder.losses_of(weights, part, chunk) * share
                    write = _write_all if self.lists(gradient_KP) else _write_each
                    write(loss_K.sum(), leaves, gradients, i == 0)
                parts.append(loss_K.detach())
            return torch.stack(parts).sum(0)

        def step(rows: slice) -> tuple[Tensor, Tensor]:
            loss_K = backward(rows)
            group, factors = self.group(rows), factors_KP[rows]
            if group.kernel is not None and factors.shape[1] == 1:
                return loss_K, group.kernel.update(factors)
            return loss_K, group.optimizer.update(group.state, group.gradient_KP, factors)

        if self.ranks.count == 1:
            one = state.compiled and self.stack.device == "cpu"  # a program of one serves all
            losses, norms = zip(*self.in_groups(step, 1 if one else None), strict=True)
            loss_K, norm_K = torch.cat(losses), torch.cat(norms)
        else:
            loss_K = torch.cat(self.in_groups(backward))
            given = self.optimizer, state.optimizer, self.gradient_KP, factors_KP, loss_K
            loss_K, norm_K = data_parallel.update(*given, self.ranks, self.shards)
        state.loss_sum_K += loss_K
        state.step += 1
        if state.average_KP is not None:
            update(
                self.stack.specs[0].average,
                state.average_KP,
                state.optimizer.weights_KP,
                state.step,
            )
        return norm_K

    def group(self, rows: slice) -> _Group:
        """What members that are taken together have in the storage."""
        key = rows.start, rows.stop
        if key not in self.groups:
            self.groups[key] = _Group(
                self.stack.specs[0].model,
                self.state.optimizer.keep(rows),
                self.optimizer.keep(rows),
                self.gradient_KP[rows],
            )
        return self.groups[key]

    def differentiable(
        self, group: _Group, rows: slice
    ) -> tuple[Weights, list[Tensor], list[Tensor]]:
        """The ``fused`` weights that the models of some members run on; the tensors that they are
        differentiated by; and as views of their gradient where each of those has its own."""
        during = self.stack.during
        if during is not None and during.used is not None:
            trained_KP = group.state.weights_KP.data.requires_grad_()
            used_KP = self.used(trained_KP, rows, True)
            return fused(group.model, used_KP), [trained_KP], [group.gradient_KP]
        return group.leaves if self.lists(group.gradient_KP) else group.fresh_leaves()

    def in_groups(self, work: Callable[[slice], Result], most: int | None = None) -> list[Result]:
        """``work`` on every group of members, of at most so many.

        On a CPU a large stack is taken in groups whose activations stay in the cache, and groups
        are what its threads share: one thread a group has nothing to wait for, where several
        threads on one small product wait for each other at the end of each. Large products are
        another matter: what would leave half of the threads idle is taken by all of them.
        """
        precision, device = self.stack.specs[0].precision, self.stack.device
        with float32_products(precision, device, onednn=self.uses_onednn):
            return self._in_groups(work, most)

    def _in_groups(self, work: Callable[[slice], Result], most: int | None) -> list[Result]:
        threads, members = torch.get_num_threads(), len(self.state.alive)
        on_cpu, split = self.stack.device == "cpu", self.state.split
        size = self.group_size if on_cpu else members
        if split is not None:
            size = min(size, split.members)
        elif on_cpu:
            size = min(size, -(-members // threads))
        parts = -(-members // min(size, most or size))
        cuts = [members * i // parts for i in range(parts + 1)]
        groups = [slice(first, stop) for first, stop in pairwise(cuts)]
        if split is not None or threads == 1 or len(groups) == 1:  # a split is of one at a time
            return [work(rows) for rows in groups]
        left = len(groups) % threads
        large = self.stack.specs[0].model.width >= ALONE_WIDTH
        shared = len(groups) - (left if large and 2 * left <= threads else 0)
        pool = self.pool
        with one_thread():
            done = list(pool.map(work, groups[:shared]))
        return [*done, *(work(rows) for rows in groups[shared:])]

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(torch.get_num_threads())

    def lists(self, gradient_KP: Tensor) -> bool:
        """Whether a backward pass may hold all of this gradient beside it: a small one, where no
        memory is stated."""
        return self.state.split is None and gradient_KP.nbytes <= LISTED_BYTES

    @property
    def micro_batch(self) -> int:
        """How many sequences of a member a step takes at once."""
        split = self.state.split
        return self.stack.specs[0].batch_sequences if split is None else split.sequences

    @property
    def group_size(self) -> int:
        spec = self.stack.specs[0]
        if spec.model.width >= ALONE_WIDTH:
            return 1
        return max(1, GROUP_BYTES // (4 * spec.batch_tokens * spec.model.mlp_width))

    def rate_factors(self) -> Tensor:
        """What each member's learning rates are multiplied by at this step, ``(K, 1)`` or, where
        a growth method has rates of its own, ``(K, P)``."""
        step, during = self.state.step, self.stack.during
        if during is None or during.rates is None:
            return self.feed.factors_K1(step)
        rates = during.rates(step)
        assert rates.keys() <= self.trained.keys(), rates.keys() - self.trained.keys()
        whole = {
            name: torch.as_tensor(rates.get(name, 1.0), dtype=torch.float64).expand(shape)
            for name, shape in self.trained.items()
        }
        factors = [schedule.run_factor(spec, step) for spec in self.specs]
        factors_K1 = torch.tensor(factors, dtype=torch.float64)[:, None]
        return (factors_K1 * pack(whole)).to(self.state.optimizer.weights_KP)

    def decoder_now(self) -> Decoder:
        during, state = self.stack.during, self.state
        if during is None:
            return self.decoder
        return during.decoder_at(self.decoder, state.step, state.optimizer.weights_KP)

    def used(self, trained_KP: Tensor, rows: slice, training: bool) -> Tensor:
        """The weights that the models of some members run on."""
        during, step = self.stack.during, self.state.step
        if during is None or during.used is None:
            return trained_KP
        model = self.stack.specs[0].model
        used = []
        for spec, row in zip(self.specs[rows], trained_KP, strict=True):
            rng = generator("during", spec.seed, step) if training else None
            used.append(flatten(model, during.used(unpack(self.trained, row), step, rng)))
        return torch.stack(used)

    def validation_losses(self, trained_KP: Tensor, windows_WT: Tensor) -> Tensor:
        """Mean loss on these windows ``(W, T + 1)`` of every member with these weights ``(K,)``, in
        nats per token."""
        decoder, ours_WT = self.decoder_now(), windows_WT[self.ranks.share(len(windows_WT))]

        @torch.no_grad()
        def losses(rows: slice) -> Tensor:
            weights_KP = self.used(trained_KP[rows], rows, False)
            weights = fused(decoder.spec, weights_KP)
            chunk = chunk_tokens(decoder.spec, len(weights_KP))
            total_K = torch.zeros(len(weights_KP), dtype=torch.float64, device=weights_KP.device)
            for tokens_BT in torch.split(ours_WT, self.micro_batch) if len(ours_WT) else ():
                tokens = tokens_BT.expand(len(weights_KP), *tokens_BT.shape)
                total_K += decoder.losses_of(weights, tokens, chunk) * len(tokens_BT)
            return total_K / len(windows_WT)

        return self.ranks.total(torch.cat(self.in_groups(losses)))

    def log(self, norms_K: Tensor | None) -> None:
        """Add a row to every member's curve; members whose loss is not finite leave."""
        state, spec = self.state, self.stack.specs[0]
        steps = (state.step - 1) % spec.log_every + 1  # since the last row
        val = self.validation_losses(state.optimizer.weights_KP, self.val_WT).tolist()
        averaged = None
        if state.average_KP is not None and is_whole(spec.average, state.step):
            averaged = self.validation_losses(state.average_KP, self.val_WT).tolist()
        train = (state.loss_sum_K / steps).tolist()
        for row, member in enumerate(state.alive):
            member_spec = self.stack.specs[member]
            learned = self.stack.learning_steps[member] if self.stack.learning_steps else 0
            tokens = (state.step + learned) * spec.batch_tokens
            record: dict[str, float | int | None] = {
                "step": state.step,
                "tokens": tokens,
                "flops": tokens * flops.per_token(spec.model),
                "lr": None,
                "train_loss": None,
                "val_loss": _finite(val[row]),
                "grad_norm": None,
            }
            if norms_K is not None:
                factor = schedule.run_factor(member_spec, state.step - 1)
                record["lr"] = member_spec.hyper.lr * factor
                record["train_loss"] = _finite(train[row])
                record["grad_norm"] = _finite(norms_K[row].item())
            record["asymmetry"] = self.asymmetry(row)
            if averaged is not None:
                record["val_loss_averaged"] = _finite(averaged[row])
            state.curves[member].append(record)
            if not math.isfinite(val[row]) or not math.isfinite(train[row]):
                state.status[member] = "diverged"
        state.loss_sum_K.zero_()

    def asymmetry(self, row: int) -> float | None:
        """Of the member in a row, on one batch of validation; ``None`` unless grown by copies."""
        stack, member = self.stack, self.state.alive[row]
        if not stack.source_widths or not stack.source_widths[member]:
            return None
        weights = model_weights(stack, self.state, member)
        tokens_BT = self.val_WT[: stack.specs[0].batch_sequences, :-1]
        source_width = stack.source_widths[member]
        return _finite(asymmetry(self.decoder_now(), weights, tokens_BT, source_width))

    def prune(self, keep: int) -> None:
        """Keep the best trials by validation loss, averaged over the members of a trial."""
        trials = self.stack.trials or range(len(self.stack.specs))
        losses: dict[int, list[float]] = {}
        for member in self.state.alive:
            loss = self.state.curves[member][-1]["val_loss"]
            diverged = self.state.status[member] == "diverged" or loss is None
            losses.setdefault(trials[member], []).append(math.inf if diverged else float(loss or 0))
        ranked = sorted(losses, key=lambda trial: (sum(losses[trial]) / len(losses[trial]), trial))
        for member in self.state.alive:
            if trials[member] in ranked[keep:] and self.state.status[member] == "running":
                self.state.status[member] = "pruned"

    def shrink(self) -> None:
        """Drop the members that ended; the others keep their rows and know nothing of it."""
        state = self.state
        rows = [row for row, member in enumerate(state.alive) if state.status[member] == "running"]
        if len(rows) == len(state.alive):
            return
        index = torch.tensor(rows, dtype=torch.long, device=state.loss_sum_K.device)
        state.alive, self.ahead = [state.alive[row] for row in rows], None
        self.groups.clear()
        state.optimizer = state.optimizer.keep(index)
        state.loss_sum_K = state.loss_sum_K[index]
        if state.average_KP is not None:
            state.average_KP = state.average_KP[index]
        if self.stack.specs[0].train_steps:
            self.optimizer = self.optimizer.keep(index)
            self.gradient_KP = self.gradient_KP[: len(rows)]


def _write_all(loss: Tensor, leaves: list[Tensor], gradients: list[Tensor], first: bool) -> None:
    """Write the loss's gradient by each of the ``leaves`` to its place in ``gradients``, or add it
    if this is not the ``first`` part of a batch, when all are there."""
    found = torch.autograd.grad(loss, leaves, materialize_grads=True)
    if first:
        torch._foreach_copy_(gradients, found)
    else:
        torch._foreach_add_(gradients, found)


def _write_each(loss: Tensor, leaves: list[Tensor], gradients: list[Tensor], first: bool) -> None:
    """``_write_all``, each as soon as it is there: there is never a second copy of all. It takes
    longer, since every tensor costs a call."""
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            partial(_move_gradient, gradient, first)
        )
    loss.backward()  # type: ignore[no-untyped-call]


def _move_gradient(gradient: Tensor, first: bool, leaf: Tensor) -> None:
    assert leaf.grad is not None
    if first:
        gradient.copy_(leaf.grad)
    else:
        gradient.add_(leaf.grad)
    leaf.grad = None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def advance(
    stack: Stack, state: StackState, data: TokenData, ranks: Ranks = ALONE
) -> Iterator[StackState]:
    """Train until the last step or until no member is left; yields the state, which it goes on
    changing in place, after every step so that the caller can save it, show it, or stop. Of several
    ``ranks`` all do so, each with its part of the state."""
    program = _Program(stack, data, state, ranks)
    spec = stack.specs[0]
    rungs = {_row_step(spec, rung.step): rung.keep for rung in stack.rungs}
    if state.step == 0 and not state.curves[0]:
        program.log(None)
        program.shrink()
    while state.alive and state.step < spec.train_steps:
        began = time.perf_counter()
        norms_K = program.train_step()
        if state.step % spec.log_every == 0 or state.step == spec.train_steps:
            program.log(norms_K)
            if state.step in rungs and state.step < spec.train_steps:
                program.prune(rungs[state.step])
            members = state.alive
            program.shrink()
        else:
            members = state.alive
        share_s = (time.perf_counter() - began) / len(members)
        for member in members:
            state.wall_s[member] += share_s
        yield state
    for member in state.alive:
        state.status[member] = "finished"


def final_losses(
    stack: Stack, state: StackState, data: TokenData, ranks: Ranks = ALONE
) -> dict[int, list[float]]:
    """The final evaluation of the members that finished, by their place in the stack: a loss for
    each of its blocks, in nats per token. Nothing where the runs ask for none."""
    spec = stack.specs[0]
    if not spec.data.final_val_tokens or not state.alive:
        return {}
    program = _Program(stack, data, state, ranks)
    windows = final_windows(data.val, spec.model.context, spec.data.final_val_tokens)
    weights_KP = state.optimizer.weights_KP
    losses_BK = [
        program.validation_losses(weights_KP, torch.from_numpy(block_WT).to(stack.device)).tolist()
        for block_WT in windows
    ]
    return dict(zip(state.alive, map(list, zip(*losses_BK, strict=True)), strict=True))


def _row_step(spec: RunSpec, step: int) -> int:
    """The first step at or after ``step`` that has a row, where a rung can be judged."""
    return math.ceil(step / spec.log_every) * spec.log_every


def train(
    stack: Stack,
    starts: Sequence[Weights],
    data: TokenData,
    each_step: Callable[[StackState], object] = lambda state: None,
) -> StackState:
    """Train a stack from its starts to its end."""
    state = begin(stack, starts)
    for current in advance(stack, state, data):
        each_step(current)
    return state
