//! Private files: a 0700 directory, 0600 keys, written aside and renamed so that a half-written one is never read.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Error, Pair};

const DIRECTORY_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

#[derive(Debug, Clone)]
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

    /// The key is moved into place first: a crash in between leaves what [`Files::read_pair`] reports.
    pub(crate) fn write_pair(&self, name: &str, pair: &Pair) -> Result<(), Error> {
        self.write_private(&format!("{name}.key"), &pair.key_pem)?;
        self.write(&format!("{name}.crt"), &pair.certificate_pem, CERTIFICATE_MODE)
    }

    pub(crate) fn write_private(&self, name: &str, text: &str) -> Result<(), Error> {
        self.write(name, text, KEY_MODE)
    }

    pub(crate) fn write_public(&self, name: &str, text: &str) -> Result<(), Error> {
        self.write(name, text, CERTIFICATE_MODE)
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

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), Error> {
        let path = self.0.join(name);
        let aside = self.0.join(format!(".{name}.new"));
        let io = |source| Error::Io { path: path.clone(), source };
        match fs::remove_file(&aside) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&aside, &path).map_err(io)?;
        fs::File::open(&self.0).and_then(|d| d.sync_all()).map_err(io)
    }
}
