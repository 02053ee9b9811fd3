"""How DivideMix divides the data, also where the losses are bad."""

import numpy as np
import pytest
from recordings import Golden, close, make_method

from ieg.ops import mixture


def test_ramp_repeats_the_authors():
    recorded = Golden('vectors').load()
    method = make_method(np.zeros(8), 10, 0.0, warm_up=10)
    found = float(recorded['ramp/lambda_u']) * method.ramp(recorded['ramp/t'])
    close(found, recorded['ramp/lambda'], 1e-12)


def test_mixture_repeats_the_authors():
    recorded = Golden('gmm').load()
    for name in ('separable', 'overlapping', 'noise90', 'outlier'):
        normalised = mixture.normalise(
            recorded[f'{name}/loss'].astype(np.float64)
        )
        close(normalised, recorded[f'f64/{name}/normalised'], 1e-12)
        for seed in (0, 1, 2):
            found = mixture.fit(normalised, seed).clean_probability
            close(found, recorded[f'f64/{name}/seed{seed}/prob'], 1e-10, name)


def test_eight_losses():
    recorded = Golden('vectors').load()
    normalised = mixture.normalise(recorded['gmm8/loss'])
    close(normalised, recorded['gmm8/normalised'], 1e-12)
    found = mixture.fit(normalised, 0)
    close(found.clean_probability, recorded['gmm8/prob'], 1e-10)
    close(found.means, recorded['gmm8/means_sorted'], 1e-10)


def scores_of(loss):
    """A pass over the data that gives both networks these losses `[N]`."""
    logits = np.zeros((len(loss), 2, 10), np.float32)

    def score(step, ids):
        assert step == 'example_losses' and len(ids) == len(loss)
        return {'loss': np.stack([loss, loss], axis=1), 'logits': logits}

    return score


def test_history_averages_the_last_five_normalised_losses():
    recorded = Golden('gmm').load()
    series = recorded['history/loss']
    method = make_method(
        np.zeros(series.shape[1]), 10, 0.0, loss_average=5, warm_up=0
    )
    for epoch, loss in enumerate(series):
        method.begin_epoch(epoch, scores_of(loss))
        last = range(max(0, epoch - 4), epoch + 1)
        expected = np.mean(
            [recorded[f'f64/history/call{n}/normalised'] for n in last], axis=0
        )
        close(method.host_state['losses'].mean(0)[0], expected, 1e-12)
        # The start of k-means differs, which moves a posterior by 2.5e-2.
        recorded_prob = recorded[f'f64/history/call{epoch}/prob']
        close(method.host_state['probability'][0], recorded_prob, 4e-2)
    assert method.host_state['losses'].shape == (5, 2, series.shape[1])


def separable(count=400, wrong=160, seed=0):
    rng = np.random.default_rng(seed)
    loss = rng.uniform(0.0, 0.3, count).astype(np.float32)
    loss[:wrong] += 3
    return loss


def test_a_division_makes_one_pass_per_network_from_its_peer():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0, lambda_u='50')
    loss = np.stack([separable(), separable(wrong=100)], axis=1)
    score = {'loss': loss, 'logits': np.zeros((400, 2, 10), np.float32)}
    first, second = method.begin_epoch(0, lambda step, ids: score)
    assert (first.args, second.args) == ((0,), (1,))
    # Network 0 is trained on what network 1 calls clean, and vice versa.
    assert np.array_equal(first.examples['labeled'], np.arange(100, 400))
    assert np.array_equal(second.examples['labeled'], np.arange(160, 400))
    assert np.array_equal(second.examples['unlabeled'], np.arange(160))
    assert first.num_steps == -(-300 // 8)
    assert (first.per_step['share'] >= 0.5).all()
    expected = 50 * np.arange(first.num_steps) / (300 // 8 + 1) / 16
    close(first.per_step['unlabeled_weight'], expected, 1e-12)
    score_, chosen = method.selection()
    assert chosen[160:].all() and not chosen[:100].any()


def remarks_of(method):
    return ' '.join(method.take_reports()[1])


def test_a_bad_loss_does_not_spoil_the_division():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    loss = separable()
    loss[3] = np.nan
    phases = method.begin_epoch(0, scores_of(loss))
    assert np.array_equal(phases[0].examples['labeled'], np.arange(160, 400))
    assert '1 non-finite' in remarks_of(method)


def test_an_outlier_does_not_spoil_the_division():
    loss = np.concatenate([separable(4000, 1600), [3000]]).astype(np.float32)
    tamed, remarks = mixture.tame(loss)
    assert remarks
    chosen = mixture.fit(mixture.normalise(tamed), 0).clean_probability > 0.5
    assert np.array_equal(np.flatnonzero(chosen), np.arange(1600, 4000))
    raw = mixture.fit(mixture.normalise(loss), 0).clean_probability > 0.5
    assert raw.sum() == 4000  # What happens without the guard.


def test_ordinary_losses_pass_the_guard_unchanged():
    recorded = Golden('gmm').load()
    for name in ('separable', 'overlapping', 'noise90'):
        tamed, remarks = mixture.tame(recorded[f'{name}/loss'])
        assert np.array_equal(tamed, recorded[f'{name}/loss'])
        assert not remarks


def test_equal_losses_are_all_clean():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    phases = method.begin_epoch(0, scores_of(np.full(400, 2.0, np.float32)))
    assert [phase.step for phase in phases] == ['labeled_step'] * 2
    assert 'every example clean' in remarks_of(method)


def test_an_empty_clean_part_is_topped_up():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0, p_threshold=1.0)
    loss = separable()
    phases = method.begin_epoch(0, scores_of(loss))
    assert len(phases[0].examples['labeled']) == 8
    assert phases[0].examples['labeled'].min() >= 160
    assert 'smallest loss' in remarks_of(method)


def test_a_collapse_keeps_the_last_division_once():
    method = make_method(np.zeros(400), 10, 0.0, warm_up=0)
    method.begin_epoch(0, scores_of(separable()))
    method.take_reports()
    collapsed = separable(wrong=380)
    phases = method.begin_epoch(1, scores_of(collapsed))
    assert len(phases[0].examples['labeled']) == 240
    assert 'jumped' in remarks_of(method)
    phases = method.begin_epoch(2, scores_of(collapsed))
    assert len(phases[0].examples['labeled']) == 20


def test_auto_lambda_u_follows_the_published_table():
    method = make_method(np.zeros(8), 10, 0.0)
    rates = {0.2: 0, 0.45: 25, 0.72: 25, 0.81: 50}
    for rate, weight in rates.items():
        assert method.lambda_u(rate) == pytest.approx(weight)
