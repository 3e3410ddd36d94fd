"""Arithmetic of the accuracy figures: divergence between next-token distributions, and its uncertainty."""
import numpy

BLOCK = 32           # neighbouring positions share their context, so the bootstrap draws runs of this many
RESAMPLES = 10_000
SEED = 20260101


def log_softmax(rows):
    rows = rows.astype(numpy.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= numpy.log(numpy.exp(rows).sum(axis=1, keepdims=True))
    return rows


def kl(log_p, log_q):
    """KL(p || q) of each row, in nats."""
    return (numpy.exp(log_p) * (log_p - log_q)).sum(axis=1)


def blocks_of(values):
    """[window][position] -> sums and lengths of runs of BLOCK positions; a run never spans two windows."""
    runs = [window[i:i + BLOCK] for window in values for i in range(0, len(window), BLOCK)]
    return numpy.array([run.sum() for run in runs]), numpy.array([len(run) for run in runs])


def mean_interval(values):
    """Mean over all positions and its 95 % interval (block bootstrap)."""
    sums, lengths = blocks_of(values)
    pick = numpy.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[pick].sum(axis=1) / lengths[pick].sum(axis=1)
    return sums.sum() / lengths.sum(), numpy.quantile(means, [0.025, 0.975])


def paired_difference(ours, theirs):
    """(mean(ours) - mean(theirs)) / mean(theirs), drawn in pairs, with its 95 % interval."""
    our_sums, _ = blocks_of(ours)
    their_sums, _ = blocks_of(theirs)
    pick = numpy.random.default_rng(SEED).integers(0, len(our_sums), (RESAMPLES, len(our_sums)))
    ratios = our_sums[pick].sum(axis=1) / their_sums[pick].sum(axis=1) - 1.0
    return our_sums.sum() / their_sums.sum() - 1.0, numpy.quantile(ratios, [0.025, 0.975])
