//! What the examples print, as numbers.

#[allow(dead_code, reason = "its `main` prints what is tested here")]
#[path = "../../examples/own_loop.rs"]
mod own_loop;
#[allow(dead_code, reason = "its `main` prints what is tested here")]
#[path = "../../examples/own_loss.rs"]
mod own_loss;

#[test]
fn the_loss_of_an_own_loop_falls() {
    let losses = own_loop::train().unwrap();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (start, end) = (mean(&losses[..5]), mean(&losses[losses.len() - 20..]));
    assert!(losses.iter().all(|x| x.is_finite()), "{losses:?}");
    assert!(end < 0.7 * start, "{start} {end}: {losses:?}");
}

#[test]
fn an_own_loss_composes_and_is_trained_through() {
    let [plain, focused] = [0.0, 2.0].map(|gamma| own_loss::focal_and_contrastive(gamma).unwrap());
    assert!(plain.0 > focused.0 && focused.0 > 0.0, "{plain:?} {focused:?}");
    assert!(plain.1 > 0.0 && focused.1 > 0.0, "{plain:?} {focused:?}");
}
