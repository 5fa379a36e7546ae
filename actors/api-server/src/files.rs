//! `/files/{path}`: upload and download of files in a namespace's storage, streamed in both directions.

use crate::error::{ApiError, Request};
use crate::shared::{App, namespace};
use crate::storage::Place;
use actix_web::body::SizedStream;
use actix_web::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use nsfl_rest_model::StoredFile;
use nsfl_types::{Code, Digest, Refusal};
use sha2::Digest as _;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufWriter};

type FilePath = web::Path<(String, String)>;

/// Bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// GET and HEAD, whole or the one range that `Range: bytes=…` asks for (RFC 9110, 14).
pub(crate) async fn get(app: App, path: FilePath, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let place = place(&app, &path)?;
    let (file, len) = blocking({
        let place = place.clone();
        move || place.read()
    })
    .await?;
    let asked = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
    let (status, first, count) = match asked.map_or(Asked::Whole, |text| range(text, len)) {
        Asked::Whole => (StatusCode::OK, 0, len),
        Asked::Part { first, count } => (StatusCode::PARTIAL_CONTENT, first, count),
        Asked::Nothing => {
            return Ok(HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{len}")))
                .finish());
        }
    };
    let mut answer = HttpResponse::build(status);
    answer.content_type("application/octet-stream").insert_header((ACCEPT_RANGES, "bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        answer.insert_header((CONTENT_RANGE, format!("bytes {first}-{}/{len}", first + count - 1)));
    }
    if request.method() == Method::HEAD {
        return Ok(answer.body(SizedStream::new(count, futures_util::stream::empty::<io::Result<Bytes>>())));
    }
    let mut file = tokio::fs::File::from_std(file);
    file.seek(io::SeekFrom::Start(first)).await.map_err(|e| other(place.failed(&e)))?;
    let stream = futures_util::stream::try_unfold((file, count), |(mut file, left)| async move {
        let mut chunk = BytesMut::zeroed(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)));
        if chunk.is_empty() {
            return Ok::<_, io::Error>(None);
        }
        file.read_exact(&mut chunk).await?;
        let left = left - chunk.len() as u64;
        Ok(Some((chunk.freeze(), (file, left))))
    });
    Ok(answer.body(SizedStream::new(count, stream)))
}

/// Writes a file beside, syncs it and renames it into place: readers see the old one or the new one, whole.
pub(crate) async fn put(
    app: App,
    path: FilePath,
    request: HttpRequest,
    mut body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let place = place(&app, &path)?;
    let max = app.args.limits.file_bytes;
    let too_large = || ApiError::other(Code::TooLarge, format!("files of more than {max} bytes are not taken"));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    if announced.is_some_and(|len: u64| len > max) {
        return Err(too_large());
    }
    let failed = |e: io::Error| other(place.failed(&e));
    let storage = app.storage.clone();
    let (file, upload) = web::block(move || storage.upload()).await.map_err(gone)?.map_err(failed)?;
    let mut file = BufWriter::with_capacity(CHUNK, tokio::fs::File::from_std(file));
    let (mut bytes, mut hash) = (0, sha2::Sha256::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| ApiError::other(Code::BadFrame, format!("the upload was cut: {e}")))?;
        bytes += chunk.len() as u64;
        if bytes > max {
            return Err(too_large());
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    file.get_ref().sync_all().await.map_err(failed)?;
    let stored = StoredFile { path: place.relative.clone(), bytes, sha256: Digest::from_bytes(hash.finalize().into()) };
    blocking(move || place.write(upload)).await?;
    Ok(HttpResponse::Created().json(stored))
}

fn place(app: &App, path: &FilePath) -> Result<Place, ApiError> {
    app.storage.locate(&namespace(&path.0, Request::Other)?, &path.1).map_err(other)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, ApiError> {
    web::block(work).await.map_err(gone)?.map_err(other)
}

fn other(refusal: Refusal) -> ApiError {
    ApiError::new(Request::Other, refusal)
}

fn gone(_: actix_web::error::BlockingError) -> ApiError {
    ApiError::other(Code::Busy, "the server is ending; try again")
}

/// What a range asks of a file.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part { first: u64, count: u64 },
    Nothing,
}

/// Several ranges, other units and nonsense ask for the whole, as the RFC allows.
fn range(text: &str, len: u64) -> Asked {
    let bounds = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let Some((first, last)) = bounds else { return Asked::Whole };
    let (first, end) = match (first.parse::<u64>(), last.parse::<u64>(), last.is_empty()) {
        (Ok(first), Ok(last), _) if first <= last => (first, last.saturating_add(1).min(len)),
        (Ok(first), Err(_), true) => (first, len),
        (Err(_), Ok(suffix), _) if first.is_empty() => (len.saturating_sub(suffix), len),
        _ => return Asked::Whole,
    };
    if first < end { Asked::Part { first, count: end - first } } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_file_and_nonsense_is_the_whole() {
        let part = |first, count| Asked::Part { first, count };
        for (text, asked) in [
            ("bytes=0-3", part(0, 4)),
            ("bytes=4-", part(4, 6)),
            ("bytes=8-99", part(8, 2)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=3-1", Asked::Whole),
            ("bytes=0-1,4-5", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
        ] {
            assert_eq!(range(text, 10), asked, "{text}");
        }
        assert_eq!(range("bytes=0-0", 0), Asked::Nothing);
    }
}
