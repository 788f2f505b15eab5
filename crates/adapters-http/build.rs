//! Takes the two files of Swagger UI that a browser needs out of the archive in which it is vendored, and
//! stores them gzipped for `routes/docs.rs`. The archive itself (with source maps, 11 MB) is not built in.

use std::error::Error;
use std::io::{Cursor, Read as _};
use std::path::Path;

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

const FILES: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "where a build writes is no setting")]
    let out_dir = std::env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    let folder = archive.file_names().next().ok_or("an empty archive")??.into_owned();
    let version = folder.strip_prefix("swagger-ui-").and_then(|rest| rest.split('/').next()).ok_or("no version")?;
    println!("cargo::rustc-env=SWAGGER_UI_VERSION={version}");
    for file in FILES {
        let gzipped = gzipped(&mut archive, &format!("swagger-ui-{version}/dist/{file}"))?;
        std::fs::write(Path::new(&out_dir).join(format!("{file}.gz")), gzipped)?;
    }
    Ok(())
}

/// One file of the archive as gzip, which holds the same deflated bytes between another head and tail (RFC 1952):
/// nothing needs to be inflated.
fn gzipped(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let index = archive.index_for_name(name).ok_or_else(|| format!("no {name} in the archive"))?;
    let mut file = archive.by_index_raw(index)?;
    if file.compression() != CompressionMethod::DEFLATE {
        return Err(format!("{name} is not deflated").into());
    }
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    file.read_to_end(&mut gzip)?;
    gzip.extend(file.crc32().to_le_bytes());
    gzip.extend(u32::try_from(file.size())?.to_le_bytes());
    Ok(gzip)
}
