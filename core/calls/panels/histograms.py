"""Times as histograms that can be added: how many calls took about so long.

Bucket ``b`` holds times from 1.04^b up to 1.04^(b+1) milliseconds, bucket 0 also what is shorter. Stored is a
histogram as sorted little-endian pairs ``(uint16 bucket, uint32 count)``. Invariant: a percentile read from merged
histograms is at most 2% off the one of the times themselves.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Counts = Ints

WIDTH = 1.04
_LOG_WIDTH = math.log(WIDTH)
_LAST_BUCKET = 1000  # more than a thousand years
_PAIR = struct.Struct("<HI")
_PAIRS = np.dtype([("bucket", "<u2"), ("count", "<u4")])
NO_COUNTS: Counts = np.zeros(0, np.int64)


def bucket_of(ms: float) -> int:
    """The histogram's bucket that a time belongs to."""
    return min(int(math.log(ms) / _LOG_WIDTH), _LAST_BUCKET) if ms > 1 else 0


def pack(times: Mapping[int, int]) -> bytes:
    """A histogram, given as the count of each bucket, as it is stored."""
    return b"".join([_PAIR.pack(bucket, count) for bucket, count in sorted(times.items())])


def unpack(blob: bytes) -> dict[int, int]:
    """The count of each bucket of a stored histogram."""
    return dict(_PAIR.iter_unpack(blob))


def merge(blobs: Iterable[bytes]) -> Counts:
    """The sum of stored histograms: how many times fall into bucket 0, 1, 2 and so on."""
    pairs = np.frombuffer(b"".join(blobs), dtype=_PAIRS)
    return np.bincount(pairs["bucket"], weights=pairs["count"]).astype(np.int64)


def merge_by(keys: Sequence[str], blobs: Sequence[bytes]) -> dict[str, Counts]:
    """``merge`` for each key apart, of the stored histograms that stand beside it."""
    pairs = np.frombuffer(b"".join(blobs), dtype=_PAIRS)
    sizes = np.fromiter(map(len, blobs), np.int64, len(blobs)) // _PAIR.size
    return _by_key(keys, sizes, pairs["bucket"], pairs["count"])


def count_by(keys: Sequence[str], times: Sequence[float | None]) -> dict[str, Counts]:
    """``to_counts`` for each key apart, of the times that stand beside it."""
    values = np.array(times, dtype=np.float64)
    known = ~np.isnan(values)
    buckets = _buckets(values[known])
    return _by_key(keys, known.astype(np.int64), buckets, np.ones(len(buckets)))


def _by_key(keys: Sequence[str], sizes: Ints, buckets: Ints, counts: npt.NDArray[Any]) -> dict[str, Counts]:
    """Sums by key and bucket; each key owns as many of the buckets that follow as its size says."""
    order = list(dict.fromkeys(keys))
    number = {key: place for place, key in enumerate(order)}
    owners = np.repeat(np.fromiter((number[key] for key in keys), np.int64, len(keys)), sizes)
    width = _LAST_BUCKET + 1
    sums = np.bincount(owners * width + buckets, weights=counts, minlength=len(order) * width)
    return dict(zip(order, sums.astype(np.int64).reshape(-1, width), strict=True))


def add(counts: Counts, more: Counts) -> Counts:
    """The sum of two histograms as ``merge`` gives them."""
    longer, shorter = (counts, more) if len(counts) >= len(more) else (more, counts)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def to_counts(times: npt.NDArray[np.float64]) -> Counts:
    """The histogram of times in milliseconds, as ``merge`` gives it."""
    return np.bincount(_buckets(times[~np.isnan(times)]))


def _buckets(times: npt.NDArray[np.float64]) -> Ints:
    buckets = np.log(np.maximum(times, 1.0)) / _LOG_WIDTH
    return np.minimum(buckets, _LAST_BUCKET).astype(np.int64)


def percentile(counts: Counts, share: float) -> float | None:
    """The time in milliseconds that this share of the calls did not exceed, at most 2% off; None of no calls."""
    upto = np.cumsum(counts)
    if not len(upto) or not upto[-1]:
        return None
    rank = max(math.ceil(round(share * int(upto[-1]), 6)), 1)
    return float(middle_of(int(np.searchsorted(upto, rank))))


def middle_of(bucket: int) -> float:
    """The time that stands for all of a bucket, in milliseconds: its geometric middle."""
    return float(WIDTH ** (bucket + 0.5))


def edge_of(bucket: int) -> float:
    """The shortest time of a bucket, in milliseconds."""
    return float(WIDTH**bucket) if bucket else 0.0
