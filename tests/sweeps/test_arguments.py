"""Options of several values, at once and one by one."""

import pytest

from mugrow.bench.spec import UserError
from mugrow.sweeps.arguments import gathered, options_of_one, options_of_several, words_of
from mugrow.sweeps.cli import COMMANDS, command_class
from mugrow.sweeps.commands.savings import SavingsCommand

SEVERAL = {"--at", "--source-cost"}


def test_values_are_put_behind_the_first() -> None:
    words = ["a.csv", "--at", "1", "2", "--json", "--at=-3", "--source_cost", "a=1", "--at", "4"]
    assert gathered(words, SEVERAL) == [
        *("a.csv", "--at", "1", "2", "-3", "4", "--json", "--source-cost", "a=1"),
    ]


def test_other_words_stay_where_they_are() -> None:
    words = ["x", "--loss", "a", "--loss", "b", "-o", "c.csv", "--", "--at", "1"]
    assert gathered(words, SEVERAL) == words


def test_the_options_of_a_command() -> None:
    assert options_of_several(SavingsCommand) >= {"--at", "--method", "--source-cost"}
    assert "--loss" not in options_of_several(SavingsCommand)
    assert words_of(SavingsCommand, ["--at", "1", "--at", "2"]) == ["--at", "1", "2"]
    for words in ([], ["--help"]):
        assert words_of(SavingsCommand, words) == words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("savings", "--loss", "a", "--loss", "b"), "--loss is given twice: 'a' and 'b'"),
        (("fit", "--seed=1", "--json", "--seed", "2"), "--seed is given twice: '1' and '2'"),
        (("transfer", "--where", "x", "--where", "y"), "--where is given twice: 'x' and 'y'"),
        (("reproduce", "p", "--workers", "2", "--workers", "3"), "--workers is given twice: '2'"),
        (("grow", "r", "-o", "a", "--out", "b"), "--out is given twice: 'a' and 'b'"),
        (
            ("run", "quick", "--token_dtype", "u", "--token-dtype", "v"),
            "--token-dtype is given twic",
        ),
    ],
)
def test_one_value_is_not_lost_to_another(words, line) -> None:
    with pytest.raises(UserError, match=line):
        words_of(command_class(words[0]), words[1:])


def test_what_may_be_said_again() -> None:
    """The same value, a flag, the pairs of a study's settings, and all words behind two dashes."""
    for words in (
        ["savings", "--loss", "a", "--loss", "a", "--json", "--json"],
        ["run", "quick", "--set", "a=1", "--set", "b=2"],
        ["check", "--", "--loss", "a", "--loss", "b"],
    ):
        assert words_of(command_class(words[0]), words[1:]) == words[1:]


def test_no_command_has_an_option_of_one_value_and_of_several() -> None:
    for command in map(command_class, COMMANDS):
        assert not options_of_one(command).keys() & options_of_several(command)
        assert "--json" not in options_of_one(command)
