//! The files of the database as the connections have them open, and whether the path still names these.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What every SQLite database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Why the files at the path cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot look at {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} was replaced while it was open", .0.display())]
    Replaced(PathBuf),
    #[error("{} does not begin as an SQLite database does", .0.display())]
    Damaged(PathBuf),
    #[error("{} was replaced, but not the -wal beside it, which belongs to the former file: remove it", .0.display())]
    StrayLog(PathBuf),
}

/// Tells a file from all others that exist at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl From<Metadata> for FileId {
    fn from(metadata: Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FileId {
    fn at(path: &Path) -> Result<Self, FileError> {
        let metadata = fs::metadata(path).map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
        Ok(metadata.into())
    }
}

/// A database with its write-ahead log and the log's index, which SQLite finds by their names.
///
/// The database file is held open: no other file gets its inode, and its beginning can be read. To close it drops the
/// locks that the process has on the file (so it is with POSIX), so this must outlive all connections to it.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    handle: File,
    database: (PathBuf, FileId),
    log: (PathBuf, FileId),
    log_index: (PathBuf, FileId),
}

impl OpenFiles {
    /// Opens the database file, has `connect` open the same with SQLite, and checks that it was the same.
    pub(crate) fn open<C, E: From<FileError>>(
        path: &Path,
        connect: impl FnOnce() -> Result<C, E>,
    ) -> Result<(Self, C), E> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        let handle = File::open(path).map_err(unreadable)?;
        let opened = handle.metadata().map_err(unreadable)?.into();
        // SQLite would make an empty file a new database.
        verify_beginning(&handle, path)?;
        let connection = connect()?;
        // SQLite puts them beside the file that a link leads to.
        let resolved = path.canonicalize().map_err(unreadable)?;
        let beside = |suffix| {
            let mut path = resolved.as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            FileId::at(&path).map(|id| (path, id))
        };
        let files =
            Self { handle, database: (path.to_owned(), opened), log: beside("-wal")?, log_index: beside("-shm")? };
        files.verify()?;
        Ok((files, connection))
    }

    /// Whether what was written through the open files is found when the path is opened next.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn verify(&self) -> Result<(), FileError> {
        for (path, opened) in [&self.database, &self.log, &self.log_index] {
            if FileId::at(path)? != *opened {
                return Err(FileError::Replaced(path.clone()));
            }
        }
        verify_beginning(&self.handle, &self.database.0)
    }

    /// Whether another database at the path would be read with this one's log, which SQLite does not notice.
    ///
    /// # Errors
    /// [`FileError::StrayLog`].
    pub(crate) fn verify_log_is_not_left(&self) -> Result<(), FileError> {
        let is_at = |(path, opened): &(PathBuf, FileId)| FileId::at(path).is_ok_and(|found| found == *opened);
        if is_at(&self.log) && !is_at(&self.database) {
            return Err(FileError::StrayLog(self.database.0.clone()));
        }
        Ok(())
    }
}

fn verify_beginning(file: &File, path: &Path) -> Result<(), FileError> {
    let mut beginning = [0; MAGIC.len()];
    match file.read_exact_at(&mut beginning, 0) {
        Ok(()) if beginning == *MAGIC => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(FileError::Unreadable { path: path.to_owned(), source: error })
        }
        _ => Err(FileError::Damaged(path.to_owned())),
    }
}
