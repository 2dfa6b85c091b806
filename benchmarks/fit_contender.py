"""A contender of `benchmarks.fit`, in its own process and Python.

    python benchmarks/fit_contender.py NAME DEVICE

Read one JSON command per line from standard input, and write one answer per line. It imports the
project only for the contender of that name, so that the environment of the peers can run it.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

SHAPES: Final = {
    "W1": (1_000_000, 16, 64),
    "W2": (1_000_000, 64, 256),
    "W3": (200_000, 128, 1024),
    "W4": (50_000, 784, 10),
    "W5": (4_000_000, 2, 8),
    "W6": (273_280, 3, 64),
    "W7": (200_000, 768, 100),
}
#: The contenders on a GPU.
GPU_SHAPES: Final = {"G1": (10_000_000, 128, 1024)}
THREADS: Final = 2
Found = tuple[Any, int, float]  # centroids, iterations, inertia


def write_data(path: str, row: str, form: str, scale: float) -> None:
    """Write points and initial centroids of a row of the table as .npy; ``scale`` shortens them."""
    n, d, k = (SHAPES | GPU_SHAPES)[row]
    n = max(int(n * scale), 2 * k)
    rng = np.random.default_rng(0)
    if form == "pixels":
        from sklearn.datasets import load_sample_image

        points = load_sample_image("china.jpg").reshape(-1, 3)[:n].astype(np.float32)
    elif form == "gauss":
        points = rng.standard_normal((n, d), dtype=np.float32)
    else:
        centres = rng.uniform(-4, 4, (k, d)).astype(np.float32)
        points = rng.standard_normal((n, d), dtype=np.float32)
        points += centres[rng.integers(k, size=n)]
    rows = np.unique(points[rng.permutation(n)[: 50 * k]], axis=0)
    np.save(f"{path}.points.npy", points)
    np.save(f"{path}.init.npy", rows[rng.choice(len(rows), k, replace=False)])


def peak_bytes() -> int:
    """Return the peak memory of this process since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def forget_peak() -> None:
    """Reset the peak to the current memory."""
    Path("/proc/self/clear_refs").write_text("5")


class ScikitLearn:
    """Lloyd or Elkan of scikit-learn, or Intel's patch of it."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm

    def fit(self, points: Any, init: Any, max_iter: int, tol: float, seed: int) -> Found:
        from sklearn.cluster import KMeans

        k = len(init) if not isinstance(init, tuple) else init[1]
        model = KMeans(
            k,
            init=init[0] if isinstance(init, tuple) else init,
            n_init=1,
            max_iter=max_iter,
            tol=tol,
            algorithm=self.algorithm,
            random_state=seed,
        ).fit(points)
        return model.cluster_centers_, int(model.n_iter_), float(model.inertia_)

    def seed(self, points: Any, init: str, k: int, seed: int) -> None:
        from sklearn.cluster import kmeans_plusplus

        kmeans_plusplus(points, k, random_state=seed)

    def served(self, points: Any, centroids: Any) -> dict[str, Callable[[Any], Any]]:
        from sklearn.cluster import KMeans

        model = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1)
        model.fit(points[: 4 * len(centroids)])
        model.cluster_centers_ = centroids
        return {"assign": model.predict}

    def request(self, rows: Any) -> Any:
        return rows


class Faiss:
    """faiss's Clustering, with a given number of iterations, because it has no tolerance."""

    def fit(self, points: Any, init: Any, max_iter: int, tol: float, seed: int) -> Found:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        n, d = points.shape
        index = faiss.IndexFlatL2(d)
        centroids, left = init, max_iter
        while left:
            clustering = faiss.Clustering(d, len(init))
            clustering.niter, clustering.seed = left, seed
            clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, n
            faiss.copy_array_to_vector(centroids.ravel(), clustering.centroids)
            clustering.train(points, index)
            centroids = faiss.vector_float_to_array(clustering.centroids).reshape(-1, d)
            # It stops if its float32 objective repeats: then it continues from there.
            left -= clustering.iteration_stats.size()
        # Its objective is that of the previous iteration; the time of the others includes the
        # assignment.
        squared, _ = index.search(points, 1)
        return centroids, max_iter, float(squared.sum(dtype=np.float64))

    def fit_sample(self, points: Any, k: int, seed: int) -> Any:
        """Return centroids [k, d] of faiss's own subsampling: at most 256 points per cluster."""
        import faiss

        faiss.omp_set_num_threads(THREADS)
        model = faiss.Kmeans(points.shape[1], k, seed=seed)
        model.train(points)
        return model.centroids


class Torch:
    """Lloyd's algorithm in PyTorch: a product, and a scatter of the sums.

    In float32, without TensorFloat-32; on a GPU the sums use float32 atomics.
    """

    #: Scores of a tile: 256 MiB.
    _SCORES: Final = 2**26

    def __init__(self, device: str) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        self._torch = torch
        self._device = "cuda" if device == "gpu" else "cpu"

    def fit(self, points: Any, init: Any, max_iter: int, tol: float, seed: int) -> Found:
        torch = self._torch
        rows = torch.from_numpy(points).to(self._device)
        places = torch.from_numpy(init).to(self._device)
        least = tol * float(rows.var(dim=0, unbiased=False).mean())
        iterations, shift = 0, float("inf")
        while iterations < max_iter and shift > least:
            moved, _ = self._step(rows, places)
            shift = float((moved - places).square().sum())
            places, iterations = moved, iterations + 1
        _, inertia = self._step(rows, places)
        return places.cpu().numpy(), iterations, inertia

    def _step(self, rows: Any, places: Any) -> tuple[Any, float]:
        torch, (k, d) = self._torch, places.shape
        half = places.square().sum(dim=1) / 2
        sums = torch.zeros(k, d, device=rows.device)
        counts = torch.zeros(k, device=rows.device)
        inertia = torch.zeros((), dtype=torch.float64, device=rows.device)
        for part in rows.split(max(self._SCORES // k, 1)):
            nearest = torch.addmm(half, part, places.T, alpha=-1).argmin(dim=1)
            sums.index_add_(0, nearest, part)
            counts += torch.bincount(nearest, minlength=k)
            inertia += (part - places[nearest]).square().sum(dtype=torch.float64)
        means = torch.where(counts[:, None] > 0, sums / counts[:, None], places)
        return means, float(inertia)


class Cuml:
    """cuML's KMeans, of NVIDIA's RAPIDS."""

    def fit(self, points: Any, init: Any, max_iter: int, tol: float, seed: int) -> Found:
        from cuml.cluster import KMeans

        model = KMeans(
            n_clusters=len(init), init=init, n_init=1, max_iter=max_iter, tol=tol, random_state=seed
        ).fit(points)
        return np.asarray(model.cluster_centers_), int(model.n_iter_), float(model.inertia_)


class Ours:
    """tfkmeans."""

    def __init__(self, device: str) -> None:
        import tensorflow as tf

        if device == "cpu":
            tf.config.threading.set_intra_op_parallelism_threads(THREADS)
            tf.config.threading.set_inter_op_parallelism_threads(THREADS)
        from kmeans_module import fit

        # Imported here, so that the first call does not include the import.
        self._fit, self._tf, self._device = fit, tf, device

    def fit(self, points: Any, init: Any, max_iter: int, tol: float, seed: int) -> Found:
        k = len(init) if not isinstance(init, tuple) else init[1]
        start = init[0] if isinstance(init, tuple) else init
        found = self._fit(
            points, k, init=start, max_iter=max_iter, tol=tol, seed=seed, device=self._device
        )
        return found.centroids, found.n_iter, found.inertia

    def compile(self, points: Any, init: Any) -> None:
        """Compile the kernels of a long fit now: a named engine waits for them."""
        from kmeans_module.engines.choice import choose_engine

        (n, d), k = points.shape, len(init)
        engine = choose_engine(n, d, k)
        self._fit(points, k, init=init, max_iter=1, engine=engine)

    def seed(self, points: Any, init: str, k: int, seed: int) -> None:
        from kmeans_module.initialization import initial_centroids
        from kmeans_module.model_space import enter
        from kmeans_module.weighted_rows import weigh

        weight = np.ones(len(points), np.float32)
        space = enter(points, weight, standardize=False)
        rows = weigh(space.rows, weight, space.largest)
        initial_centroids(init, rows, k, np.array([seed, 0], np.int32))

    def served(self, points: Any, centroids: Any) -> dict[str, Callable[[Any], Any]]:
        import tempfile

        from kmeans_module import KMeansModule

        d = centroids.shape[1]
        module = KMeansModule(centroids, np.zeros(d, "f4"), np.ones(d, "f4"))
        with tempfile.TemporaryDirectory() as directory:
            self._tf.saved_model.save(module, directory, signatures=module.signatures)
            self._loaded = self._tf.saved_model.load(directory)
        signatures = self._loaded.signatures

        def asking(name: str) -> Callable[[Any], Any]:
            return lambda rows: {
                key: value.numpy() for key, value in signatures[name](points=rows).items()
            }

        return {name: asking(name) for name in ("assign", "score")}

    def request(self, rows: Any) -> Any:
        # The request of a server is already a tensor.
        return self._tf.constant(rows)


def contender(name: str, device: str) -> Any:
    """Return the contender of that name, on the device "cpu" or "gpu"."""
    if name == "tfkmeans":
        return Ours(device)
    if name == "torch":
        return Torch(device)
    if name == "cuml":
        return Cuml()
    if name == "faiss":
        return Faiss()
    if name == "intelex":
        from sklearnex import patch_sklearn

        patch_sklearn(verbose=False)
    return ScikitLearn("elkan" if name == "elkan" else "lloyd")


def main() -> None:
    """Answer commands until standard input ends."""
    warnings.filterwarnings("ignore")
    answers = sys.stdout
    sys.stdout = sys.stderr
    who = contender(*sys.argv[1:])
    points = init = np.empty(0)
    asked: dict[str, Callable[[Any], Any]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        answer: dict[str, Any] = {}
        if do == "data":
            write_data(**command)
        elif do == "load":
            points = np.load(f"{command['path']}.points.npy")
            init = np.load(f"{command['path']}.init.npy")
            if "scale" in command:
                points = points[: int(command["scale"])]
        elif do == "fit":
            start = (command.pop("init"), len(init)) if "init" in command else init
            forget_peak()
            before, began = peak_bytes(), time.perf_counter()
            _, iterations, inertia = who.fit(points, start, **command)
            answer = {
                "seconds": time.perf_counter() - began,
                "iterations": iterations,
                "inertia": inertia,
                "mib": (peak_bytes() - before) / 2**20,
            }
        elif do == "fit_sample":
            used = time.process_time()
            centroids = who.fit_sample(points, len(init), **command)
            answer = {
                "processor_seconds": time.process_time() - used,
                "centroids": centroids.tolist(),
            }
        elif do == "compile":
            who.compile(points, init)
        elif do == "seed":
            began = time.perf_counter()
            who.seed(points, command["init"], len(init), command["seed"])
            answer = {"seconds": time.perf_counter() - began}
        elif do == "serve":
            asked = who.served(points, init)
        elif do == "ask":
            call, rows = asked[command["signature"]], who.request(points[: command["rows"]])
            began = time.perf_counter()
            for _ in range(command["calls"]):
                call(rows)
            answer = {"seconds": (time.perf_counter() - began) / command["calls"]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
