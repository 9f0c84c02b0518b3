use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// A place in object storage, and how to get in.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.url.startsWith('file://') || !(has(self.endpoint) || has(self.region) || has(self.credentialsSecret))", "a file:// URL takes no endpoint, region or credentialsSecret; they are of s3:// URLs"))]
#[x_kube(validation = ("!has(self.endpoint) || !self.endpoint.startsWith('http://') || (has(self.allowHttp) && self.allowHttp)", "endpoint is without encryption (http://); write https://, or allowHttp: true if that is what you want"))]
pub struct StorageLocation {
    /// `s3://bucket/prefix`, or `file:///absolute/path` on a volume that every pod has.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?|file:///[^?#]*)$')", "url must be s3://bucket/prefix or file:///absolute/path"))]
    pub url: String,
    /// Where the S3 API answers, if that is not AWS: `https://s3.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^https?://[^/?#]+/?$')", "endpoint must be https://host or https://host:port, without a path"))]
    pub endpoint: Option<String>,
    /// AWS region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// Whether the endpoint may be without encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    /// A Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` if there is one.
    /// Without it pods use what their service account gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<LocalRef>,
}

/// How to get into object storage, where URLs are said elsewhere.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.endpoint) || !self.endpoint.startsWith('http://') || (has(self.allowHttp) && self.allowHttp)", "endpoint is without encryption (http://); write https://, or allowHttp: true if that is what you want"))]
pub struct ObjectCredentials {
    /// Where the S3 API answers, if that is not AWS: `https://s3.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^https?://[^/?#]+/?$')", "endpoint must be https://host or https://host:port, without a path"))]
    pub endpoint: Option<String>,
    /// AWS region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// Whether the endpoint may be without encryption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    /// A Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret: Option<LocalRef>,
}

impl StorageLocation {
    /// The part that opens the door.
    pub fn credentials(&self) -> ObjectCredentials {
        let Self { url: _, endpoint, region, allow_http, credentials_secret } = self.clone();
        ObjectCredentials { endpoint, region, allow_http, credentials_secret }
    }

    /// The URL with `path` below it.
    pub fn below(&self, path: &str) -> String {
        format!("{}/{path}", self.url.trim_end_matches('/'))
    }
}
