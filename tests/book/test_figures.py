"""The table of published figures in README.md and book/intro.md."""

import pytest

import readme_figures
from ast_lib.book.results import Record, write
from ast_lib.errors import AstError
from readme_figures import BEGIN, END, FiguresError, read_results, table, update, with_table

PAGE = f"# Title\n\nBefore.\n\n{BEGIN}\n{END}\n\nAfter.\n"


def record(metric="lsd", task="piano_to_violin", system="quick", value=10.54, **changes):
    values = {"std": 1.26, "n": 40, "unit": "dB" if metric == "lsd" else "", "profile": "quick"}
    return Record(metric, task, system, value, **(values | {"weights": "quick", "seed": 0} | changes))


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "book" / "intro.md").write_text(PAGE)
    write(
        tmp_path / "results" / "15_listening.json",
        [
            record(system="ceiling", value=2.1, std=0.3, weights="none"),
            record(),
            record(system="quick_predicted_phase", value=12.25),
            record(task="violin_to_piano", value=8.2),
            record("chroma_cosine", value=0.891, std=0.02),
            record("onset_f1", value=0.5),
            record(system="source_copy", value=18.6, weights="none"),
        ],
    )
    return tmp_path


def test_the_table_has_a_row_a_system_and_a_column_a_metric_and_task(repository):
    lines = table(read_results(repository / "results")).splitlines()
    assert lines == [
        "| system | LSD ↓ (dB) piano→violin | LSD ↓ (dB) violin→piano | chroma cosine ↑ piano→violin |",
        "|---|--:|--:|--:|",
        "| source copied unchanged | 18.6 ± 1.3 | – | – |",
        "| quick | 10.5 ± 1.3 | 8.20 ± 1.26 | 0.891 ± 0.020 |",
        "| quick, predicted phase | 12.2 ± 1.3 | – | – |",
        "| ceiling: true magnitude, phase found again | 2.10 ± 0.30 | – | – |",
        "",
        "Mean ± standard deviation over 40 clips in each direction; profile quick, weights quick, seed 0.",
    ]


def test_numbers_of_clips_that_differ_are_told_by_metric():
    text = table([record(), record("raw_pitch_accuracy", value=0.9, n=20)])
    assert "over 40 clips (LSD) and 20 clips (raw pitch accuracy) in each direction" in text


def test_without_results_the_table_says_so():
    assert table([]) == "No results have been published yet."


def test_writing_makes_the_pages_current_and_leaves_the_rest_of_them_alone(repository):
    assert update(repository, check=True) == ["README.md", "book/intro.md"]
    assert (repository / "README.md").read_text() == PAGE
    assert update(repository, check=False) == ["README.md", "book/intro.md"]
    assert update(repository, check=True) == []
    text = (repository / "README.md").read_text()
    assert text.startswith("# Title\n\nBefore.\n\n") and text.endswith("\n\nAfter.\n") and "| quick | 10.5" in text


def test_an_edited_figure_is_found_and_named(repository, capsys):
    update(repository, check=False)
    page = repository / "book" / "intro.md"
    page.write_text(page.read_text().replace("10.5 ± 1.3", "9.5 ± 1.3"))
    assert readme_figures.main(["--check", "--root", str(repository)]) == 1
    assert capsys.readouterr().err == "readme_figures: book/intro.md differ from results/; run: make publish\n"


def test_new_results_make_the_pages_stale(repository):
    update(repository, check=False)
    write(repository / "results" / "15_listening_paper.json", [record(system="paper", value=20.0, weights="paper")])
    assert update(repository, check=True) == ["README.md", "book/intro.md"]


def test_two_values_of_one_figure_are_an_error(repository):
    write(repository / "results" / "15_listening_other.json", [record(value=9.0)])
    with pytest.raises(FiguresError, match="15_listening_other.json: a second value for quick, lsd, piano_to_violin"):
        read_results(repository / "results")


def test_a_page_without_the_marks_is_an_error():
    for text in ("", BEGIN, f"{END}\n{BEGIN}\n", PAGE + BEGIN):
        with pytest.raises(FiguresError, match="README.md: the lines"):
            with_table(text, "", "README.md")


def test_a_file_that_holds_no_records_is_named(repository, capsys):
    (repository / "results" / "15_listening_99.json").write_text('[{"metric": "lsd"}]')
    with pytest.raises(AstError, match="15_listening_99.json: record 0: task: Field required"):
        read_results(repository / "results")
    assert readme_figures.main(["--root", str(repository)]) == 1
    assert "15_listening_99.json" in capsys.readouterr().err


def test_the_committed_pages_show_the_committed_results(root):
    assert update(root, check=True) == [], "run: make publish"
