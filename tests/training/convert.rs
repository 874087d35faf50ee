//! State dicts from elsewhere.

use rescom::{
    run::{Arch, EncoderSpec},
    train::{HostData, HostTensor, HostTensors, convert, initial_state, state_names},
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
fn other_types_are_converted_or_listed_and_one_entry_has_one_source() {
    let spec = EncoderSpec::new(Arch::ResNet20, 3);
    let ours = initial_state(&spec, 10, None, 1).unwrap();
    let doubled = |t: &HostTensor| match &t.data {
        HostData::F32(_) => HostTensor { shape: t.shape.clone(), data: HostData::F64(t.to_f64()) },
        _ => t.clone(),
    };
    let wide = ours.iter().map(|(n, t)| (n.clone(), doubled(t))).collect();
    let got = convert(&spec, 10, None, &wide).unwrap();
    assert!(got.is_complete() && got.state == ours, "float64 becomes float32");

    let mut whole = ours.clone();
    whole.insert("linear.bias".into(), HostTensor::i64(&[10], vec![1; 10]).unwrap());
    let counter = "encoder.bn1.num_batches_tracked";
    whole.insert(counter.into(), HostTensor::f32(&[], vec![3.0]).unwrap());
    let got = convert(&spec, 10, None, &whole).unwrap();
    assert_eq!(got.missing, ["linear.bias"]);
    assert_eq!(got.unexpected, [counter, "linear.bias"]);

    for twin in ["fc.weight", "module.linear.weight"] {
        let mut both = ours.clone();
        both.insert(twin.into(), ours["linear.weight"].clone());
        let e = convert(&spec, 10, None, &both).unwrap_err();
        assert!(
            e.exit_code() == 2 && e.to_string().contains("both stand for `linear.weight`"),
            "{e}"
        );
    }
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
