//! Published numbers to stand beside ours, each with its source.

use crate::run::{DataSetId, Method, MethodLabel, RescomModules};

/// One published top-1 accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Data set.
    pub set: DataSetId,
    /// Encoder, as published.
    pub backbone: String,
    /// Method, as published.
    pub method: String,
    /// n_1 / n_C; none for sets that are long-tailed themselves.
    pub imbalance_factor: Option<f64>,
    /// Top-1 in percent.
    pub top1: f64,
    /// Accuracy over the many-, medium- and few-shot classes in percent, where it was published.
    pub shots: [Option<f64>; 3],
    /// Remarks, for example the number of epochs.
    pub note: String,
    /// Where the number stands.
    pub source: String,
}

const CIFAR: &str = include_str!("../../assets/published/published.csv");
const LARGE: &str = include_str!("../../assets/published/published_large.csv");

#[derive(serde::Deserialize)]
struct CifarRow {
    dataset: String,
    backbone: String,
    method: String,
    imb100: Option<f64>,
    imb50: Option<f64>,
    imb10: Option<f64>,
    note: String,
    source: String,
}

#[derive(serde::Deserialize)]
struct LargeRow {
    dataset: String,
    backbone: String,
    method: String,
    top1: f64,
    many: Option<f64>,
    medium: Option<f64>,
    few: Option<f64>,
    source: String,
}

fn set_of(name: &str) -> DataSetId {
    match name {
        "cifar10-lt" => DataSetId::Cifar10,
        "cifar100-lt" => DataSetId::Cifar100,
        "imagenet-lt" => DataSetId::ImagenetLt,
        "inaturalist18" => DataSetId::Inat18,
        other => unreachable!("data set {other} in the tables that ship with the package"),
    }
}

/// Every published number that ships with the package.
pub fn published() -> Vec<Published> {
    let mut all = Vec::new();
    for row in csv::Reader::from_reader(CIFAR.as_bytes()).into_deserialize() {
        let row: CifarRow = row.expect("the shipped table is well formed; a test reads it");
        for (factor, top1) in [(100.0, row.imb100), (50.0, row.imb50), (10.0, row.imb10)] {
            let Some(top1) = top1 else { continue };
            all.push(Published {
                set: set_of(&row.dataset),
                backbone: row.backbone.clone(),
                method: row.method.clone(),
                imbalance_factor: Some(factor),
                top1,
                shots: [None; 3],
                note: row.note.clone(),
                source: row.source.clone(),
            });
        }
    }
    for row in csv::Reader::from_reader(LARGE.as_bytes()).into_deserialize() {
        let row: LargeRow = row.expect("the shipped table is well formed; a test reads it");
        all.push(Published {
            set: set_of(&row.dataset),
            backbone: row.backbone,
            method: row.method,
            imbalance_factor: None,
            top1: row.top1,
            shots: [row.many, row.medium, row.few],
            note: String::new(),
            source: row.source,
        });
    }
    all
}

/// The name under which the tables hold `label`, if they may hold it at all.
pub fn published_name(label: MethodLabel) -> Option<&'static str> {
    if label.foreign {
        return None;
    }
    match (label.method, label.stage2) {
        (Method::CrossEntropy, false) => Some("Cross-entropy"),
        (Method::BalancedSoftmax, false) => Some("Balanced Softmax"),
        (Method::SupConBalancedSoftmax, false) => Some("SupCon + Balanced Softmax"),
        (Method::MoCoBalancedSoftmax, false) => Some("MoCo + Balanced Softmax"),
        (Method::Rescom(RescomModules::ALL), false) => Some("ResCom"),
        (Method::Rescom(RescomModules::ALL), true) => Some("ResCom + MiSLAS"),
        // The published MiSLAS numbers are those of both stages.
        (Method::Mislas, true) => Some("MiSLAS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_the_published_rows_of_rescom() {
        let all = published();
        let find = |set, factor| {
            let row = all
                .iter()
                .find(|p| p.set == set && p.method == "ResCom" && p.imbalance_factor == factor);
            row.map(|p| p.top1)
        };
        assert_eq!(find(DataSetId::Cifar10, Some(100.0)), Some(84.9));
        assert_eq!(find(DataSetId::Cifar100, Some(10.0)), Some(66.1));
        assert_eq!(find(DataSetId::Inat18, None), Some(75.2));
        assert!(all.iter().all(|p| !p.source.is_empty()));
        let shots = |method, backbone| {
            let row = all.iter().find(|p| p.method == method && p.backbone == backbone);
            row.map(|p| p.shots)
        };
        let found = shots("SupCon + Balanced Softmax", "resnet50");
        assert_eq!(found, Some([Some(68.5), Some(55.8), Some(31.8)]));
        assert_eq!(shots("ResCom", "resnext50"), Some([None; 3]));
        for label in ["ce", "moco+bs", "rescom", "rescom+mislas", "mislas+stage2"] {
            let m: MethodLabel = label.parse().unwrap();
            assert!(all.iter().any(|p| Some(p.method.as_str()) == published_name(m)), "{m}");
        }
    }
}
