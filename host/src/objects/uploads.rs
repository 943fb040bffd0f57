//! Uploads that were begun and not ended. A service keeps their parts, and has them paid, until somebody ends them; the
//! client knows how to end one, and not how to find one again, so that is asked here.

use axum::http::{Method, Request};
use futures_util::TryStreamExt;
use object_store::aws::AwsAuthorizer;
use object_store::client::HttpRequestBody;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use serde::Deserialize;

use super::Bucket;

/// What is used of an answer, by
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>.
#[derive(Deserialize)]
struct Uploads {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

impl Bucket {
    /// Ends all uploads that would become this object.
    pub async fn abort_uploads(&self, path: &Path) -> object_store::Result<()> {
        for id in self.uploads(path).await? {
            match self.store.abort_multipart(path, &id).await {
                // Somebody else has ended it.
                Err(object_store::Error::NotFound { .. }) => {}
                aborted => aborted?,
            }
        }
        Ok(())
    }

    /// The uploads that would become this object.
    pub async fn uploads(&self, path: &Path) -> object_store::Result<Vec<String>> {
        let mut url: url::Url = self.address.parse().map_err(generic)?;
        // In the order in which they are signed.
        url.query_pairs_mut().append_pair("prefix", path.as_ref()).append_pair("uploads", "");
        let request = Request::builder().method(Method::GET).uri(url.as_str()).body(HttpRequestBody::empty());
        let mut request = request.map_err(generic)?;
        AwsAuthorizer::new(&self.credential, "s3", &self.region).authorize(&mut request, None);
        let answer = self.client.execute(request).await.map_err(generic)?;
        let status = answer.status();
        let mut body = Vec::new();
        let mut parts = answer.into_body().bytes_stream();
        while let Some(part) = parts.try_next().await.map_err(generic)? {
            body.extend_from_slice(&part);
        }
        if !status.is_success() {
            return Err(generic(format!("status code: {status}: {}", String::from_utf8_lossy(&body))));
        }
        let found: Uploads = quick_xml::de::from_reader(&*body).map_err(generic)?;
        Ok(found
            .uploads
            .into_iter()
            .filter(|upload| upload.key == path.as_ref())
            .map(|upload| upload.upload_id)
            .collect())
    }
}

fn generic(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: error.into() }
}
