//! Which images a long-tailed subset holds.

use rescom::longtail::{ClassOrder, ImbalanceFactor, SubsetManifest, SubsetRule, TailShape};

use super::{json, number, size, text};

#[test]
fn long_tailed_subsets_equal_numpy() {
    let cases = json("cifar_lt_indices.json");
    let cases = cases["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let classes = size(case, "num_classes");
        let labels: Vec<u32> =
            (0..50_000u64).map(|i| ((i * 7919 + 13) % classes as u64) as u32).collect();
        let mu = number(case, "imb_factor");
        let rule = SubsetRule {
            shape: serde_json::from_value::<TailShape>(case["imb_type"].clone()).unwrap(),
            imbalance: ImbalanceFactor::from_mu(mu).unwrap(),
            rand_number: size(case, "rand_number") as u32,
            order: ClassOrder::Natural,
            n_max: None,
        };
        let subset = SubsetManifest::choose("synthetic", &labels, classes, &rule).unwrap();
        subset.check(&labels).unwrap();
        let stated: Vec<u64> = serde_json::from_value(case["num_per_class"].clone()).unwrap();
        assert_eq!(subset.counts, stated);
        assert_eq!(subset.indices.len(), size(case, "total"));
        assert_eq!(subset.sha256, text(case, "sha256_int64_le"));
        if let Some(indices) = case.get("indices").filter(|v| v.is_array()) {
            assert_eq!(serde_json::json!(subset.indices), *indices);
        }
        if let Some(first) = case["first20_per_class"].as_array() {
            let mut start = 0;
            for (list, &count) in first.iter().zip(&subset.counts) {
                let list: Vec<u32> = serde_json::from_value(list.clone()).unwrap();
                assert_eq!(subset.indices[start..start + list.len()], list);
                start += count as usize;
            }
            assert_eq!(first.len(), classes);
        }
        println!(
            "{classes} classes, {} {mu}: {} images equal",
            text(case, "imb_type"),
            subset.indices.len()
        );
    }
}
