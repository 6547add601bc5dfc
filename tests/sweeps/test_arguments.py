"""Options of several values, at once and one by one."""

from mugrow.sweeps.arguments import gathered, options_of_several, words_of
from mugrow.sweeps.cli import Command
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
    assert words_of(Command, ["savings", "--at", "1", "--at", "2"]) == ["savings", "--at", "1", "2"]
    for words in ([], ["--help"], ["nothing", "--at", "1", "--at", "2"]):
        assert words_of(Command, words) == words
