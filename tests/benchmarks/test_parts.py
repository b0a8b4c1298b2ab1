"""Does a sample count for the part that the innermost known frame belongs to?"""

from scripts.benchmarks.parts import shares

OUTER = "run_forever (asyncio/base_events.py:607);_settle (gateway/scenarios/confirmation.py:132)"
STORE = f"{OUTER};find_user (gateway/store/users.py:30);execute (sqlalchemy/engine/base.py:1494)"


def test_a_sample_counts_for_its_innermost_known_frame() -> None:
    assert shares(f"{OUTER} 1\n{STORE} 3\n") == {
        "scenarios and rules": 0.25,
        "SQLAlchemy: executing, rows, units": 0.75,
    }


def test_code_of_the_standard_library_counts_for_its_caller() -> None:
    assert shares(f"{OUTER};dumps (json/__init__.py:231) 2\n") == {"scenarios and rules": 1.0}


def test_building_and_executing_a_statement_are_told_apart() -> None:
    parts = shares(f"{STORE};expect (sqlalchemy/sql/coercions.py:323) 1\n")
    assert parts == {"SQLAlchemy: building statements": 1.0}


def test_a_frame_without_a_known_home_is_shown_as_other() -> None:
    assert shares("thread (0x1F);main (elsewhere.py) 4\n") == {"other": 1.0}


def test_no_samples_give_no_shares() -> None:
    assert shares("") == {}
