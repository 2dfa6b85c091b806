"""The page of a version: what it says, and that it is whole and safe in itself."""

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from numpy.typing import NDArray

from export import ModelCard, from_sklearn, make_card, write_candidate
from kmeans_module import FitResult, fit
from serving.report import pages
from serving.report.errors import NoRowsToShow
from serving.report.version_profile import VersionProfile

pytestmark = pytest.mark.slow

NAMES = (
    "annual income",
    "<script>alert(1)</script>",
    '=HYPERLINK("http://example.com")',
    'with "quotes", a comma & more',
)
CENTERS = np.array([[148_200, 0, 0.001, 5], [40_000, 3, 0.002, 5], [90_000, -3, 0.003, 5]])
SPREAD = np.array([2_000, 0.5, 0.001, 1])

Array = NDArray[Any]


class Page(HTMLParser):
    """The parts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = page
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.policy = ""
        self.tables: list[list[list[str]]] = []
        self.seen = ""
        self._open: list[str] = []
        self._is_joined = False
        self.feed(page)
        self.seen = " ".join(self.seen.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [given[name] or "" for name in ("href", "src") if name in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        assert not [name for name in given if name.startswith("on")]
        self._is_joined = tag == "wbr"
        if tag == "script":
            self.scripts.append("")
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("wbr", "meta", "link", "line", "use", "path"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
            return
        self.seen += data if self._is_joined else f" {data}"
        self._is_joined = False
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def table_of(self, heading: str) -> list[list[str]]:
        """The table whose first heading this is."""
        return next(table for table in self.tables if table[0][0] == heading)

    def centroids_csv(self) -> list[list[str]]:
        """What a reader downloads."""
        (address,) = [each for each in self.addresses if each.startswith("data:text/csv")]
        text = unquote(address.partition(",")[2])
        assert text.startswith("\ufeff")  # tells Excel that it is UTF-8
        return list(csv.reader(io.StringIO(text[1:])))

    def notes(self) -> str:
        """What a reader sees before the first heading of a section."""
        return self.seen.partition(" Clusters ")[0]


def training_rows() -> Array:
    rng = np.random.default_rng(3)
    clusters = np.repeat([0, 1, 2], [60, 30, 20])
    rows = CENTERS[clusters] + SPREAD * rng.normal(size=(110, 4))
    return np.asarray(rows, "f4")


@pytest.fixture(scope="module")
def fitted() -> FitResult:
    return fit(training_rows(), 3, standardize=True, seed=1)


@pytest.fixture(scope="module")
def version(fitted: FitResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = training_rows()
    directory = tmp_path_factory.mktemp("version") / "1"
    write_candidate(directory, fitted, make_card(fitted, rows, feature_names=NAMES), rows)
    return directory


@pytest.fixture(scope="module")
def profile(version: Path) -> VersionProfile:
    return VersionProfile.measure(version, "customers, version 1")


@pytest.fixture(scope="module")
def page(profile: VersionProfile) -> Page:
    return Page(pages.render_version(profile))


def test_the_csv_has_the_centroids_of_the_model_to_the_last_bit(
    page: Page, fitted: FitResult, version: Path
) -> None:
    header, rows, shares, *lines = page.centroids_csv()
    clusters = ["cluster 0", "cluster 1", "cluster 2"]
    assert header == ["feature", "separation", "explained", "overall mean", *clusters]
    # A spreadsheet does not take the third name for a formula.
    by_name = {line[0]: line[1:] for line in lines}
    names = [*NAMES[:2], f"'{NAMES[2]}", NAMES[3]]
    assert sorted(by_name) == sorted(names)
    found = np.array([by_name[name][3:] for name in names]).astype("f4").T
    centroids = fitted.module.decode(np.arange(3, dtype=np.int32))["centroid"].numpy()
    assert found.tobytes() == centroids.tobytes()
    sizes = [cluster.size for cluster in ModelCard.read(version).clusters]
    assert rows == ["rows", "", "", "", *map(str, sizes)]
    assert shares == ["share", "", "", "", *(f"{size / 110:.4f}" for size in sizes)]


def test_the_csv_has_the_columns_of_the_table(page: Page, profile: VersionProfile) -> None:
    income = next(line for line in page.centroids_csv() if line[0] == "annual income")
    assert profile.explained is not None
    assert income[1] == f"{profile.separation[0]:.4f}"
    assert income[2] == f"{profile.explained[0]:.4f}"
    assert float(income[3]) == pytest.approx(training_rows()[:, 0].astype("f8").mean(), rel=1e-6)


def test_the_table_has_every_feature_and_cluster_in_raw_units(
    page: Page, fitted: FitResult
) -> None:
    header, *lines = page.table_of("feature")
    assert header == ["feature", "separation", "explained", "overall mean", "0", "1", "2"]
    assert sorted(line[0] for line in lines) == sorted(NAMES)
    (income,) = [line for line in lines if line[0] == "annual income"]
    centroids = fitted.module.decode(np.arange(3, dtype=np.int32))["centroid"].numpy()[:, 0]
    assert income[4:] == [f"{each:,.0f}" for each in centroids]
    assert all(re.fullmatch(r"\d{2,3},\d{3}", value) for value in income[3:])
    assert '<table class="sortable' in page.text


def test_the_features_that_separate_the_clusters_come_first_with_their_shares(
    page: Page, fitted: FitResult
) -> None:
    # By definition: squared distances of the rows' centroids to the mean, feature by feature.
    rows = training_rows().astype("f8")
    space = (rows - rows.mean(0)) / rows.std(0)
    own = np.stack([space[fitted.assignments == c].mean(0) for c in range(3)])[fitted.assignments]
    between = np.square(own).sum(axis=0)
    expected = {
        name: (f"{share:.1%}", ">99%" if explained > 0.995 else f"{explained:.0%}")
        for name, share, explained in zip(
            NAMES, between / between.sum(), between / len(rows), strict=True
        )
    }
    lines = page.table_of("feature")[1:]
    assert {line[0]: tuple(line[1:3]) for line in lines} == expected
    shares = [float(line[1].rstrip("%")) for line in lines]
    assert shares == sorted(shares, reverse=True)
    assert "Which features decide the clustering" in page.seen


def test_names_from_a_file_are_text_and_never_markup(page: Page) -> None:
    assert len(page.scripts) == 1
    assert "alert" not in page.scripts[0]
    assert "<script>alert(1)</script>" in [line[0] for line in page.table_of("feature")]


def test_the_policy_lets_the_one_script_run_and_nothing_be_loaded(page: Page) -> None:
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert page.policy.split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{digest}'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "url(http" not in page.text


def test_the_header_and_the_caption_give_the_same_inertia(page: Page, version: Path) -> None:
    inertia = ModelCard.read(version).inertia
    (header,) = re.findall(r"inertia (\S+) sum of the squared distances", page.seen)
    (caption,) = re.findall(r"The inertia went from \S+ to (\S+);", page.seen)
    assert header == caption
    assert float(header.replace(",", "")) == pytest.approx(inertia, rel=1e-5)


def test_distributions_have_the_medians_of_each_cluster(page: Page, fitted: FitResult) -> None:
    values = training_rows()[:, 0].astype("f8")
    for cluster in range(3):
        own = values[fitted.assignments == cluster]
        (median,) = re.findall(rf"cluster {cluster} \({len(own)} rows\): median (\S+);", page.text)[
            :1
        ]
        assert median == f"{np.median(own):,.0f}"


def test_what_is_pointed_at_says_its_values(page: Page, version: Path) -> None:
    for cluster in ModelCard.read(version).clusters:
        hint = f"<title>cluster {cluster.index}: {cluster.size} rows, {cluster.share:.1%}</title>"
        assert hint in page.text
    assert re.search(
        r'<td class="n[^"]*" title="cluster 0: [-\d.,e]+ \([+-]\d\.\d\d SD\)">', page.text
    )
    assert page.text.count("<title>row of cluster") == 3


def test_a_page_has_rows_as_they_are_only_when_asked(
    profile: VersionProfile, page: Page, fitted: FitResult
) -> None:
    assert "Example rows" not in page.text
    asked = Page(pages.render_version(profile, example_rows=True))
    assert "They may be personal data" in asked.seen
    header, *lines = asked.table_of("cluster")
    assert header[:3] == ["cluster", "row", "distance"]
    assert set(header[3:]) == set(NAMES)
    assert [line[1] for line in lines] == (["nearest"] * 3 + ["farthest"] * 3) * 3
    rows = training_rows().astype("f8")
    place = header.index("annual income")
    space = (rows - rows.mean(0)) / rows.std(0)
    for cluster in range(3):
        own = fitted.assignments == cluster
        distances = np.linalg.norm(space[own] - space[own].mean(0), axis=1)
        order = np.argsort(distances)
        incomes = rows[own][:, 0][[*order[:3], *order[:-4:-1]]]
        told = [line[place] for line in lines if line[0] == str(cluster)]
        # Six digits of float32.
        assert [float(each.replace(",", "")) for each in told] == pytest.approx(incomes, rel=1e-5)


def test_a_small_cluster_has_no_row_twice(tmp_path: Path) -> None:
    rows = np.array([[0.0], [1.0], [100.0], [101.0], [102.0], [200.0]], "f4")
    result = fit(rows, 3, seed=0)
    write_candidate(tmp_path / "1", result, make_card(result, rows, feature_names=["x"]), rows)
    profile = VersionProfile.measure(tmp_path / "1", "small")
    lines = Page(pages.render_version(profile, example_rows=True)).table_of("cluster")[1:]
    assert sorted(float(line[3]) for line in lines) == rows[:, 0].tolist()


@pytest.fixture(scope="module")
def without_rows(fitted: FitResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = training_rows()
    directory = tmp_path_factory.mktemp("without") / "1"
    card = make_card(fitted, rows, feature_names=NAMES)
    write_candidate(directory, fitted, card, rows, sample_rows=False)
    return directory


def test_a_version_without_rows_has_a_page_of_its_card_and_centroids(
    without_rows: Path, page: Page
) -> None:
    found = Page(pages.render_version(VersionProfile.measure(without_rows, "customers, version 1")))
    assert "No training rows travel with this version" in found.seen
    assert "Distributions" not in re.findall(r"<h2>(.*?)</h2>", found.text)
    for line, other in zip(found.centroids_csv(), page.centroids_csv(), strict=True):
        assert (line[:2], line[4:]) == (other[:2], other[4:])
    assert "their difference in standard deviations of the cluster means" in found.seen
    with_rows = {line[0]: line for line in page.table_of("feature")}
    for line in found.table_of("feature")[1:]:
        assert (line[1], line[2]) == (with_rows[line[0]][1], "-")
        assert line[4:] == with_rows[line[0]][4:]


def test_examples_of_rows_that_are_not_there_are_refused_in_one_line(
    without_rows: Path,
) -> None:
    profile = VersionProfile.measure(without_rows, "customers, version 1")
    with pytest.raises(NoRowsToShow, match=r"no training rows travel .* by --rows FILE$"):
        pages.render_version(profile, example_rows=True)


def test_rows_around_the_centroids_are_no_examples(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    rows = np.random.default_rng(0).normal(size=(40, 2))
    imported = from_sklearn(KMeans(2, n_init=1, random_state=0).fit(rows))
    write_candidate(tmp_path / "1", imported.module, imported.card, imported.rows)
    profile = VersionProfile.measure(tmp_path / "1", "imported")
    with pytest.raises(NoRowsToShow, match="imported: no training rows travel with it"):
        pages.render_version(profile, example_rows=True)


def test_given_rows_take_the_place_of_the_sample(version: Path) -> None:
    given = np.concatenate([training_rows()[:60] + 1_000, [[np.nan] * 4]]).astype("f4")
    profile = VersionProfile.measure(version, "customers, version 1", given)
    found = Page(pages.render_version(profile))
    assert "are of 60 given rows" in found.seen
    (income,) = [line for line in found.table_of("feature") if line[0] == "annual income"]
    mean = given[:60, 0].astype("f8").mean()
    assert income[3] == f"{mean:,.0f}"


def test_rows_that_get_no_cluster_are_refused_in_one_line(version: Path) -> None:
    with pytest.raises(NoRowsToShow, match=r"none of the 2 rows a cluster; check"):
        VersionProfile.measure(version, "customers, version 1", np.full((2, 4), np.nan, "f4"))


def test_rows_of_columns_that_the_model_maps_are_refused_in_one_line(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    rows = np.random.default_rng(0).normal(size=(40, 3))
    pipeline = make_pipeline(PCA(2), KMeans(2, n_init=1, random_state=0)).fit(rows)
    from_sklearn(pipeline).card.write(tmp_path)
    with pytest.raises(NoRowsToShow, match=r"the model maps its columns by .*leave out --rows$"):
        VersionProfile.measure(tmp_path, "mapped", rows.astype("f4"))


@pytest.mark.parametrize(("k", "d"), [(20, 200), (120, 60)])
def test_a_page_of_many_clusters_and_features_is_below_three_megabytes(
    tmp_path: Path, k: int, d: int
) -> None:
    rng = np.random.default_rng(0)
    rows = (100_000 * rng.normal(size=(4500, d))).astype("f4")
    rows += (300_000 * rng.normal(size=(k, d))[rng.integers(k, size=4500)]).astype("f4")
    names = [f"{'a_name_that_is_long_' * 10}{number}" for number in range(d)]
    result = fit(rows, k, max_iter=2, n_init=1)
    write_candidate(tmp_path / "1", result, make_card(result, rows, feature_names=names), rows)
    profile = VersionProfile.measure(tmp_path / "1", "large")
    found = Page(pages.render_version(profile, example_rows=True))
    assert len(found.text.encode()) < 3_000_000
    header, *lines = found.table_of("feature")
    assert len(header) == 4 + min(k, 100)
    assert len(lines) == d
    assert np.shape(found.centroids_csv()) == (d + 3, k + 4)
    if k > 100:
        sizes = {str(each.index): each.size for each in profile.card.clusters}
        hidden = [sizes.pop(cluster) for cluster in {*sizes} - {*header[4:]}]
        assert len(hidden) == 20
        assert max(hidden) <= min(sizes.values())
        assert "shows the 100 largest clusters; 20 smaller ones are not shown" in found.seen
        # Sizes, medians and silhouettes are listed up to a number of clusters.
        assert found.seen.count(" and 60 more.") == 3
    else:
        assert found.text.count("<path class=") == k * d
        assert "4,096 rows" in found.seen


def test_a_feature_that_never_changes_separates_nothing(tmp_path: Path) -> None:
    rows = np.stack([np.repeat([0.0, 10.0], 5), np.full(10, 7.0)], axis=1).astype("f4")
    result = fit(rows, 2, seed=0)
    card = make_card(result, rows, feature_names=["moves", "stays"])
    write_candidate(tmp_path / "1", result, card, rows)
    found = Page(pages.render_version(VersionProfile.measure(tmp_path / "1", "constant")))
    by_name = {line[0]: line for line in found.table_of("feature")}
    assert by_name["moves"][1:3] == ["100.0%", "100%"]
    assert by_name["stays"][1:3] == ["0.0%", "-"]


def test_one_cluster_is_not_separated_by_anything(tmp_path: Path) -> None:
    rows = np.arange(10, dtype="f4")[:, None]
    result = fit(rows, 1)
    write_candidate(tmp_path / "1", result, make_card(result, rows, feature_names=["x"]), rows)
    found = Page(pages.render_version(VersionProfile.measure(tmp_path / "1", "one")))
    assert "Which features decide" not in found.seen
    assert "silhouette undefined" in found.seen
    assert found.table_of("feature") == [["feature", "overall mean", "0"], ["x", "4.5", "4.5"]]
    header = ["feature", "overall mean", "cluster 0"]
    assert next(iter(found.centroids_csv())) == header
    assert "What distinguishes" not in found.seen
    assert "explained" not in found.seen


def test_a_page_of_one_row_has_no_explained_variance_and_the_singular(version: Path) -> None:
    profile = VersionProfile.measure(version, "customers, version 1", training_rows()[:1])
    found = Page(pages.render_version(profile))
    assert {line[2] for line in found.table_of("feature")[1:]} == {"-"}
    assert "are of 1 given row;" in found.seen
    assert "1 rows" not in found.text


def test_a_cluster_without_given_rows_has_no_mean(version: Path) -> None:
    given = training_rows()[:60]
    profile = VersionProfile.measure(version, "customers, version 1", given)
    (cluster,) = set(profile.cluster_index.tolist())
    found = Page(pages.render_version(profile))
    assert found.seen.count("no given rows in this cluster") == 2
    for other in {0, 1, 2} - {cluster}:
        assert not profile.has_mean(other)
        assert profile.top_differences(other) == []
        assert len(re.findall(rf'title="cluster {other}: [^"]* \(no rows here\)"', found.text)) == 4


def test_given_rows_without_a_cluster_are_counted_on_the_page(version: Path) -> None:
    given = np.concatenate([training_rows()[:9], [[np.nan] * 4, [3e38] * 4]]).astype("f4")
    found = Page(pages.render_version(VersionProfile.measure(version, "customers", given)))
    assert "2 of 11 given rows have no cluster and are left out" in found.notes()


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> tuple[VersionProfile, Page]:
    """Rows of which the great ones have the weight 100: 0 to 9, and 50 to 59."""
    rows = np.concatenate([np.arange(10), np.arange(50, 60)])[:, None].astype("f4")
    weight = np.where(rows[:, 0] > 55, 100, 1)
    result = fit(rows, 2, sample_weight=weight, seed=0)
    card = make_card(result, rows, feature_names=["mass"], weight_column="w")
    directory = tmp_path_factory.mktemp("weighted") / "1"
    write_candidate(directory, result, card, rows)
    profile = VersionProfile.measure(directory, "weighted")
    return profile, Page(pages.render_version(profile))


def test_means_of_a_model_with_weights_are_all_of_rows_without(
    weighted: tuple[VersionProfile, Page],
) -> None:
    profile, page = weighted
    assert sorted(profile.means[:, 0]) == [4.5, 54.5]
    assert profile.overall.tolist() == [29.5]
    assert sorted(profile.deviations[:, 0]) == pytest.approx([-1, 1], abs=0.01)
    assert "Rows are not weighted here" in page.notes()


def test_the_centroids_of_a_model_with_weights_are_those_of_the_model(
    weighted: tuple[VersionProfile, Page],
) -> None:
    profile, page = weighted
    great = int(profile.raw_centroids[:, 0].argmax())
    centroid = profile.raw_centroids[great, 0]
    assert centroid > 57
    (line,) = page.table_of("feature")[1:]
    assert line[3] == "29.5"
    assert line[4 + great] == f"{centroid:.2f}"
    assert f"cluster {great}: {centroid:.5f} (mean of its rows 54.5, +" in page.text


def test_a_name_may_break_behind_each_separator_and_a_number_nowhere(
    fitted: FitResult, tmp_path: Path
) -> None:
    rows = training_rows()
    names = ["flipper_length_mm", "a.b", "x-y", "line\nbreak\x00"]
    write_candidate(tmp_path / "1", fitted, make_card(fitted, rows, feature_names=names), rows)
    text = pages.render_version(VersionProfile.measure(tmp_path / "1", "names"))
    assert '<th scope="row">flipper_<wbr>length_<wbr>mm</th>' in text
    assert '<th scope="row">a.<wbr>b</th>' in text
    assert '<th scope="row">x-<wbr>y</th>' in text
    assert '<th scope="row">line break\ufffd</th>' in text
    assert not re.search(r"\d[.,]<wbr>\d", text)


def test_what_a_negative_silhouette_means_does_not_contradict_the_assignment(page: Page) -> None:
    assert "another cluster fits better" not in page.seen
    assert "nearer to its own centroid than to any other" in page.seen


def test_the_plane_does_not_ask_for_a_pointer(page: Page) -> None:
    assert "point at" not in page.seen
    assert "centroids, with the numbers of their clusters." in page.seen
