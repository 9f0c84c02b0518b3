use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schemas;

/// The volume of each pod.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.storageClassName) == has(oldSelf.storageClassName)", "storageClassName cannot change once volumes are made"))]
pub struct Volume {
    /// Its size. May grow where the storage class allows that; never shrinks.
    #[serde(default = "default_size")]
    #[schemars(schema_with = "schemas::quantity")]
    #[x_kube(validation = ("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))", "size must be a quantity above zero, such as 10Gi"))]
    #[x_kube(validation = ("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0", "a volume cannot shrink; to have smaller ones, make a new resource and move to it"))]
    pub size: Quantity,
    /// Storage class; the cluster's default without it. Cannot change once made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = ("self == oldSelf", "storageClassName cannot change once volumes are made"))]
    pub storage_class_name: Option<String>,
    /// What becomes of volumes that no pod needs any more.
    #[serde(default)]
    pub policy: VolumePolicy,
}

/// What becomes of volumes that no pod needs any more.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumePolicy {
    /// After `replicas` was made smaller. What a removed member held, the others hold too.
    #[serde(default = "delete")]
    pub when_scaled: RetainPolicy,
    /// After the resource was deleted.
    #[serde(default = "retain")]
    pub when_deleted: RetainPolicy,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetainPolicy {
    Retain,
    Delete,
}

impl RetainPolicy {
    /// As a StatefulSet says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self { size: default_size(), storage_class_name: None, policy: VolumePolicy::default() }
    }
}

impl Default for VolumePolicy {
    fn default() -> Self {
        Self { when_scaled: delete(), when_deleted: retain() }
    }
}

/// What a quantity of bytes comes to, rounded down; `None` for what is no quantity of bytes.
pub fn bytes_of(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let (fraction, scale) = (
        if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? },
        10_u128.pow(u32::try_from(fraction.len()).ok()?),
    );
    let unit: u128 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u128.pow(2),
        "G" => 1000_u128.pow(3),
        "T" => 1000_u128.pow(4),
        "P" => 1000_u128.pow(5),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _other => return None,
    };
    Some(whole * unit + fraction * unit / scale)
}

fn default_size() -> Quantity {
    Quantity("10Gi".to_owned())
}

fn delete() -> RetainPolicy {
    RetainPolicy::Delete
}

fn retain() -> RetainPolicy {
    RetainPolicy::Retain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_in_bytes() {
        let bytes = |text: &str| bytes_of(&Quantity(text.to_owned()));
        assert_eq!(bytes("1Gi"), Some(1 << 30));
        assert_eq!(bytes("1.5Gi"), Some(3 << 29));
        assert_eq!(bytes("1000"), Some(1000));
        assert_eq!(bytes("2G"), Some(2_000_000_000));
        assert_eq!(bytes(".5Ki"), Some(512));
        assert_eq!([bytes("Gi"), bytes("-1"), bytes("10m"), bytes("ten")], [None; 4]);
    }
}
