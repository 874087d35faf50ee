//! What became of a download, and why addresses did not give a file.

/// What became of a download.
pub(super) enum Fetched {
    /// It is in place.
    InPlace,
    /// No address gave it: one reason for each.
    Nowhere(Vec<Refusal>),
}

/// Why an address did not give the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) url: String,
    pub(super) why: String,
}

/// Every reason once, after the servers that gave it.
pub(super) fn reasons(refusals: &[Refusal]) -> String {
    let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
    for Refusal { url, why } in refusals {
        let server = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let server = server.split('/').next().unwrap_or(server);
        match grouped.iter_mut().find(|(known, _)| *known == why.as_str()) {
            Some((_, servers)) if servers.contains(&server) => {}
            Some((_, servers)) => servers.push(server),
            None => grouped.push((why, vec![server])),
        }
    }
    let one = |(why, servers): &(&str, Vec<&str>)| format!("{}: {why}", servers.join(", "));
    grouped.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_given_once() {
        let refusal = |url: &str, why: &str| Refusal { url: url.into(), why: why.into() };
        let all = [
            refusal("https://a.example/x.gz", "no answer"),
            refusal("https://b.example/x.gz", "no answer"),
            refusal("http://c.example:80/x.gz", "404"),
            refusal("https://a.example/y.gz", "no answer"),
        ];
        assert_eq!(reasons(&all), "a.example, b.example: no answer; c.example:80: 404");
    }
}
