//! Private files: a 0700 directory, 0600 keys, written aside and renamed so that a half-written one is never read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Error, Pair};

const DIRECTORY_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(PathBuf);

impl Files {
    pub fn open(directory: &Path) -> Result<Files, Error> {
        let files = Files(directory.to_owned());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(DIRECTORY_MODE)))
            .map_err(|source| Error::Io { path: directory.to_owned(), source })?;
        Ok(files)
    }

    /// Wait until nobody else holds the directory, and hold it until the handle is dropped.
    pub(crate) fn lock(&self) -> Result<fs::File, Error> {
        let locked = fs::File::open(&self.0).and_then(|directory| directory.lock().map(|()| directory));
        locked.map_err(|source| Error::Io { path: self.0.clone(), source })
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) if !text.trim().is_empty() => Ok(Some(text)),
                Ok(_) => Err(self.damaged(name, "it is empty")),
                Err(_) => Err(self.damaged(name, "it is not PEM")),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// `NAME.crt` and `NAME.key`. One without the other is damage: making a new pair over it could lose a CA.
    pub(crate) fn read_pair(&self, name: &str) -> Result<Option<Pair>, Error> {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        match (self.read(&certificate)?, self.read(&key)?) {
            (Some(certificate_pem), Some(key_pem)) => Ok(Some(Pair { certificate_pem, key_pem })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(self.damaged(&certificate, "it is missing while its key is there")),
            (Some(_), None) => Err(self.damaged(&key, "it is missing while its certificate is there")),
        }
    }

    /// All of the pairs with one wait for the disk. A key is moved into place before its certificate: a crash in
    /// between leaves what [`Files::read_pair`] reports.
    pub(crate) fn write_pairs(&self, pairs: &[(&str, &Pair)]) -> Result<(), Error> {
        let texts = pairs.iter().flat_map(|(name, pair)| {
            [
                (format!("{name}.key"), pair.key_pem.as_str(), KEY_MODE),
                (format!("{name}.crt"), pair.certificate_pem.as_str(), CERTIFICATE_MODE),
            ]
        });
        self.write_all(&texts.collect::<Vec<_>>())
    }

    pub(crate) fn write_private(&self, name: &str, text: &str) -> Result<(), Error> {
        self.write_all(&[(name.to_owned(), text, KEY_MODE)])
    }

    pub(crate) fn write_public(&self, name: &str, text: &str) -> Result<(), Error> {
        self.write_all(&[(name.to_owned(), text, CERTIFICATE_MODE)])
    }

    /// The names in the directory that start and end so, in order.
    pub(crate) fn matching(&self, prefix: &str, suffix: &str) -> Result<Vec<String>, Error> {
        let listed = fs::read_dir(&self.0).map_err(|source| Error::Io { path: self.0.clone(), source })?;
        let mut names: Vec<String> = listed
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(prefix) && name.ends_with(suffix))
            .collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn damaged(&self, name: &str, why: impl ToString) -> Error {
        Error::Damaged { path: self.0.join(name), why: why.to_string() }
    }

    /// Files of (name, text, mode), moved into place in this order.
    fn write_all(&self, files: &[(String, &str, u32)]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let written: Vec<_> = files
            .iter()
            .map(|(name, text, mode)| self.write_aside(name, text, *mode))
            .collect::<Result<_, _>>()?;
        // At once, so that the file system can answer all of them with one write of its journal.
        std::thread::scope(|scope| {
            let syncs: Vec<_> = written.iter().map(|file| scope.spawn(|| file.sync_all())).collect();
            syncs.into_iter().try_for_each(|sync| {
                sync.join().unwrap_or_else(|_| Err(std::io::Error::other("the sync was broken off")))
            })
        })
        .map_err(|source| Error::Io { path: self.0.clone(), source })?;
        for (name, _, _) in files {
            let path = self.0.join(name);
            fs::rename(self.aside(name), &path).map_err(|source| Error::Io { path, source })?;
        }
        let synced = fs::File::open(&self.0).and_then(|directory| directory.sync_all());
        synced.map_err(|source| Error::Io { path: self.0.clone(), source })
    }

    fn aside(&self, name: &str) -> PathBuf {
        self.0.join(format!(".{name}.new"))
    }

    fn write_aside(&self, name: &str, text: &str, mode: u32) -> Result<fs::File, Error> {
        let path = self.aside(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(Error::Io { path, source }),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
        written.map_err(|source| Error::Io { path, source })
    }
}
