//! Networks carried to PyTorch and back, by name.
//!
//! `RESCOM_TORCH_PYTHON=path/to/python cargo test --features train --test training -- --ignored exchange`
//! with a Python that has `torch`, `numpy` and `safetensors`.

use std::{fs, path::Path, process::Command};

use rescom::{
    run::{Arch, EncoderSpec, TrainerSpec},
    train::{HostTensor, HostTensors, Images, Trainer, convert, from_safetensors, to_safetensors},
};

use crate::common::{counts, normal, rescom, spec};

const CLASSES: usize = 7;
const DIM: usize = 6;

fn read(path: &Path) -> HostTensors {
    from_safetensors(&path.display().to_string(), &fs::read(path).unwrap()).unwrap()
}

fn largest_difference(trainer: &mut Trainer, images: &HostTensor, want: &HostTensor) -> f64 {
    let shape = images.shape.clone().try_into().unwrap();
    let got = trainer.logits(Images { values: images.as_f32().unwrap(), shape }).unwrap();
    assert_eq!(want.shape, [got.nrows(), got.ncols()]);
    let largest = want.to_f64().iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let pairs = got.iter().zip(want.to_f64());
    pairs.fold(0.0, |m, (a, b)| f64::max(m, (f64::from(*a) - b).abs() / largest))
}

#[test]
#[ignore = "needs RESCOM_TORCH_PYTHON, a Python with torch"]
fn exchange_with_pytorch() {
    let python = std::env::var("RESCOM_TORCH_PYTHON").expect("RESCOM_TORCH_PYTHON is set");
    for (arch, channels, side, method) in [
        (Arch::ResNet32, 3, 32, rescom(DIM)),
        (Arch::ResNet20, 1, 28, rescom(DIM)),
        (Arch::ResNet20, 3, 32, spec("ce", DIM)),
        (Arch::ResNet50, 3, 64, rescom(DIM)),
        (Arch::ResNeXt50, 3, 64, rescom(DIM)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (views, head) = (method.loss.views(), method.head());
        let spec = TrainerSpec { encoder: EncoderSpec::new(arch, channels), ..method };
        let mut ours = Trainer::new(&spec, &counts(CLASSES), 1, "cpu").unwrap();
        let shape = [4, channels, side, side];
        let n = shape.iter().product();
        let values: Vec<f32> = normal("images", 1, n).iter().map(|&x| x as f32).collect();
        let images = HostTensor::f32(&shape, values.clone()).unwrap();
        // One step, so that the running statistics are not their initial ones.
        let y = [0, 1, 0, 1];
        let step = ours.step(Images { values: &values, shape }, &y[..4 / views], 0.01).unwrap();
        assert!(step.applied);
        let logits = ours.logits(Images { values: &values, shape }).unwrap();
        let logits = HostTensor::f32(&[4, CLASSES], logits.iter().copied().collect()).unwrap();
        let write = |name: &str, tensors: &HostTensors| {
            fs::write(dir.path().join(name), to_safetensors(tensors).unwrap()).unwrap();
        };
        write("ours.safetensors", &ours.state().unwrap());
        write(
            "batch.safetensors",
            &[("images".into(), images.clone()), ("logits".into(), logits)].into(),
        );

        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/exchange.py");
        let out =
            Command::new(&python).arg(script).arg(dir.path()).arg(arch.name()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));

        let theirs = read(&dir.path().join("theirs.safetensors"));
        let found = convert(&spec.encoder, CLASSES, head, &theirs).unwrap();
        assert!(found.is_complete() && found.unexpected.is_empty(), "{found:?}");
        let want = read(&dir.path().join("their_logits.safetensors"));
        assert!(largest_difference(&mut ours, &images, &want["logits"]) > 1e-3, "another network");
        ours.load_model(&found.state).unwrap();
        let back = largest_difference(&mut ours, &images, &want["logits"]);
        println!(
            "{}: there {} back {back:.2e} (relative to the largest logit)",
            arch.name(),
            said.trim()
        );
        assert!(back < 1e-5, "{}: {back}", arch.name());
    }
}
