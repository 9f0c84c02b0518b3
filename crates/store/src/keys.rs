//! The layout of object storage; the only place that knows it.
//!
//! ```text
//! manifests/<2 hex>/<digest>                                            which files a segment holds
//! hashes/<2 hex>/<manifest digest>                                      SHA-256 of each of those files
//! rulesets/<digest>.json                                                sources and units of a version
//! findings/<tenant>/<ruleset>/v<version>/<corpus>/<segment>-<lease>.parquet
//! ```
//! The two hex digits spread local folders; object stores do not mind them.

use types::{CorpusKey, Digest, LeaseId, RulesetKey, RulesetVersion, SegmentOrdinal};

/// The manifest of a segment.
pub fn manifest(digest: &Digest) -> String {
    fanned_out("manifests", digest)
}

/// The SHA-256 of each file of a segment, by the segment's manifest.
pub fn hashes(manifest: &Digest) -> String {
    fanned_out("hashes", manifest)
}

/// The sources and units of a ruleset version.
pub fn ruleset(digest: &Digest) -> String {
    format!("rulesets/{digest}.json")
}

/// What one attempt found in one segment. The lease is part of the name, so a lost worker that still
/// writes can never touch what its successor wrote.
pub fn findings(
    ruleset: &RulesetKey,
    version: RulesetVersion,
    corpus: &CorpusKey,
    segment: SegmentOrdinal,
    lease: LeaseId,
) -> String {
    assert_eq!(ruleset.tenant, corpus.tenant, "a ruleset hunts in corpora of its own tenant only");
    let RulesetKey { tenant, name } = ruleset;
    format!("findings/{tenant}/{name}/v{version}/{}/{segment}-{lease}.parquet", corpus.name)
}

fn fanned_out(folder: &str, digest: &Digest) -> String {
    let digest = digest.to_string();
    format!("{folder}/{}/{digest}", &digest[..2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Name, Tenant};

    #[test]
    fn the_layout_is_as_documented() {
        let digest = Digest::from_bytes([0xab; 32]);
        let hex = "ab".repeat(32);
        assert_eq!(manifest(&digest), format!("manifests/ab/{hex}"));
        assert_eq!(hashes(&digest), format!("hashes/ab/{hex}"));
        assert_eq!(ruleset(&digest), format!("rulesets/{hex}.json"));

        let tenant: Tenant = "blue".parse().unwrap();
        let ruleset = RulesetKey { tenant: tenant.clone(), name: Name::new("web-shells").unwrap() };
        let corpus = CorpusKey { tenant, name: Name::new("usr.bin").unwrap() };
        assert_eq!(
            findings(&ruleset, RulesetVersion(7), &corpus, SegmentOrdinal(12), LeaseId { index: 345, slot: 6 }),
            "findings/blue/web-shells/v7/usr.bin/12-345-6.parquet"
        );
    }
}
