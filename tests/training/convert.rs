//! State dicts from elsewhere.

use rescom::train::{
    HostTensor, HostTensors,
    config::{Arch, EncoderSpec},
    convert, initial_state, state_names,
};

fn renamed(state: &HostTensors, name: impl Fn(&str) -> String) -> HostTensors {
    state.iter().map(|(n, t)| (name(n), t.clone())).collect()
}

#[test]
fn names_of_data_parallel_and_torchvision_networks_are_found() {
    let spec = EncoderSpec::new(Arch::ResNet20, 3);
    let ours = initial_state(&spec, 10, Some(32), 1).unwrap();
    assert_eq!(ours.len(), state_names(&spec, 10, Some(32)).unwrap().len());
    let parallel = renamed(&ours, |n| format!("module.{n}"));
    let got = convert(&spec, 10, Some(32), &parallel).unwrap();
    assert!(got.is_complete() && got.unexpected.is_empty() && got.state == ours);

    let ours = initial_state(&spec, 10, None, 1).unwrap();
    let bare = renamed(&ours, |n| {
        n.strip_prefix("encoder.").map_or_else(|| n.replace("linear.", "fc."), str::to_owned)
    });
    let got = convert(&spec, 10, None, &bare).unwrap();
    assert!(got.is_complete() && got.state == ours);
    // MoCo's: the query encoder's network under a prefix, the key encoder's beside it.
    for (query, key) in [("module.encoder_q.", "module.encoder_k."), ("encoder_q.", "encoder_k.")] {
        let mut moco = renamed(&bare, |n| format!("{query}{n}"));
        moco.extend(renamed(&bare, |n| format!("{key}{n}")));
        let got = convert(&spec, 10, None, &moco).unwrap();
        assert!(got.is_complete() && got.state == ours, "{query}");
        assert_eq!(got.unexpected.len(), bare.len());
        assert!(got.unexpected.iter().all(|n| n.starts_with(key)), "{query}");
    }
}

#[test]
fn what_does_not_fit_is_listed() {
    let spec = EncoderSpec::new(Arch::ResNet20, 3);
    let mut theirs = initial_state(&spec, 10, None, 1).unwrap();
    theirs.remove("encoder.bn1.weight");
    theirs.insert("encoder.layer9.weight".into(), HostTensor::f32(&[1], vec![0.0]).unwrap());
    theirs.insert("linear.bias".into(), HostTensor::f32(&[7], vec![0.0; 7]).unwrap());
    let got = convert(&spec, 10, None, &theirs).unwrap();
    assert_eq!(got.missing, ["encoder.bn1.weight"]);
    assert_eq!(got.unexpected, ["encoder.layer9.weight"]);
    assert_eq!(got.misshapen, [("linear.bias".to_owned(), vec![7], vec![10])]);
    assert!(!got.is_complete());
}

#[test]
fn initial_weights_have_the_spread_of_their_definition() {
    let spec = EncoderSpec::new(Arch::ResNet32, 3);
    let state = initial_state(&spec, 100, Some(32), 4).unwrap();
    // Kaiming normal with the fan of the inputs: 64 channels of 3x3.
    let values = state["encoder.layer3.3.conv2.weight"].to_f64();
    let variance = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
    assert!((variance / (2.0 / (64.0 * 9.0)) - 1.0).abs() < 0.05, "{variance}");
    assert!(state["encoder.bn1.weight"].to_f64().iter().all(|&x| x == 1.0));
    assert!(state["linear.bias"].to_f64().iter().all(|&x| x.abs() <= 0.125));
}
