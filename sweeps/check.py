"""Growth methods through the contract kit of ``mugrow.bench.checks``, by the words people type.

A word is a method's name with parameters behind it, ``szp:shrink=0.2``, or the path of a Python
file that defines ``METHOD``. What does not exist is the user's mistake and is raised before
anything is measured; a plug-in that cannot be loaded is a result, which has failed.
"""

from collections.abc import Iterable, Iterator

from mugrow.bench import growth
from mugrow.bench.checks import CheckResult, check_method
from mugrow.bench.checks.table import table
from mugrow.bench.entries import with_params
from mugrow.bench.spec import UserError
from mugrow.bench.switches import one_thread


def check(methods: str | Iterable[str], *, full: bool = True) -> list[CheckResult]:
    """Every case of every check, method by method, of one word or several. Of ``full`` kits
    preservation is measured on all 49 flavours of the decoder, else on six. Raises ``UserError``
    for a word that means no method, and for parameters that one does not have. On CPUs it takes
    one thread of PyTorch's, since models this small only wait for a second.

    >>> import mugrow
    >>> {result.status for result in mugrow.check(["stack"])}  # doctest: +SKIP
    {'pass', 'skip'}
    >>> mugrow.check("szp:shrk=0.5")
    Traceback (most recent call last):
        ...
    mugrow.bench.errors.UserError: unknown parameter of method 'szp': 'shrk'; did you mean 'shrink'?
    """
    words = [methods] if isinstance(methods, str) else methods
    kits = [results_of(word, full=full) for word in words]
    with one_thread():
        return [result for kit in kits for result in kit]


def results_of(word: str, *, full: bool = True) -> Iterator[CheckResult]:
    """The cases of one method, each measured when it is asked for. Raises as ``check`` does, at
    once."""
    name, params = with_params("method", word)
    try:
        entry = growth.REGISTRY.find(name)
    except UserError as error:
        if name not in growth.names():
            raise
        reason = str(error)
        return iter(
            [CheckResult(method=word, check="load", case="any", status="fail", reason=reason)]
        )
    growth.check_params(entry, params)
    return check_method(entry, params, full=full, label=word)


def method_table(methods: Iterable[str]) -> str:
    """The methods in Markdown, a row each, with the logit error that was measured."""
    return table(map(growth.REGISTRY.find, methods))
