use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caesure_hash::hmac_sha256;
use caesure_text::hex;

/// The user of the cookie file.
const COOKIE_USER: &str = "__cookie__";

/// One who may ask. The password is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    salt: String,
    /// HMAC-SHA256 of the password, keyed by the salt, in hexadecimal.
    hash: String,
}

impl User {
    /// Takes a name and a password. The salt is any 16 random bytes.
    #[must_use]
    pub fn new(name: &str, password: &str, salt: [u8; 16]) -> Self {
        let salt = hex::encode(&salt);
        let hash = hex::encode(&hmac_sha256(salt.as_bytes(), password.as_bytes()));
        Self { name: name.into(), salt, hash }
    }

    /// Reads `NAME:SALT$HASH`, which Core's `rpcauth.py` writes; none if it is another text.
    #[must_use]
    pub fn from_rpcauth(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        let (salt, hash) = rest.split_once('$')?;
        let is_whole = !hash.contains(['$', ':']) && !salt.contains(':');
        is_whole.then(|| Self { name: name.into(), salt: salt.into(), hash: hash.into() })
    }

    fn is(&self, name: &str, password: &str) -> bool {
        let hash = hex::encode(&hmac_sha256(self.salt.as_bytes(), password.as_bytes()));
        // Both are looked at whole, whatever the first says.
        equal(self.name.as_bytes(), name.as_bytes()) & equal(self.hash.as_bytes(), hash.as_bytes())
    }
}

/// Whether the value of an `Authorization` header names one of the users.
pub(crate) fn is_authorized(users: &[User], header: &[u8]) -> bool {
    let given = || {
        let encoded = str::from_utf8(header).ok()?.strip_prefix("Basic ")?;
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    };
    let Some((name, password)) = given() else { return false };
    users.iter().fold(false, |is, user| is | user.is(&name, &password))
}

/// A file with a password that only the owner of the process can read; it is removed when dropped.
#[derive(Debug)]
pub struct Cookie {
    path: PathBuf,
    user: User,
}

impl Cookie {
    /// Writes the file, `.cookie` in the network's folder, with a password of 32 random bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, secret: [u8; 32]) -> io::Result<Self> {
        let temporary = path.with_extension("tmp");
        let _ = fs::remove_file(&temporary);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let password = hex::encode(&secret);
        file.write_all(format!("{COOKIE_USER}:{password}").as_bytes())?;
        fs::rename(&temporary, path)?;
        let mut salt = [0; 16];
        salt.copy_from_slice(&caesure_hash::sha256(&secret)[..16]);
        Ok(Self { path: path.to_owned(), user: User::new(COOKIE_USER, &password, salt) })
    }

    /// Returns who has the file's password.
    #[must_use]
    pub fn user(&self) -> User {
        self.user.clone()
    }
}

impl Drop for Cookie {
    fn drop(&mut self) {
        // What is left behind is of no use to anybody.
        let _ = fs::remove_file(&self.path);
    }
}

/// Compares in a time that does not depend on where the difference is.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_user_with_the_right_password_is_authorized() {
        // From the functional tests of Bitcoin Core (`rpc_users.py`): the password of `rt`.
        let rpcauth = "rt:93648e835a54c573682c2eb19f882535$7681e9c5b74bdd85e78166031d2058e1069b3ed7ed967c93fc63abba06f31144";
        let users = [User::new("a", "b:c", [7; 16]), User::from_rpcauth(rpcauth).unwrap()];
        let check = |text: &str, expected: bool| {
            let header = format!("Basic {}", STANDARD.encode(text));
            assert_eq!(is_authorized(&users, header.as_bytes()), expected, "{text}");
        };
        check("a:b:c", true);
        check("rt:cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM=", true);
        check("rt:cA773lm788buwYe4g4WT+05pKyNruVKjQ25x3n0DQcM", false);
        check("a:b", false);
        check("b:b:c", false);
        check("a", false);
        assert!(!is_authorized(&users, b"Basic ?"));
        assert!(!is_authorized(&users, b"Bearer YTpiOmM="));
        assert!(!is_authorized(&users, &[0xff; 9]));
        assert_eq!(User::from_rpcauth("a:b"), None);
        assert_eq!(User::from_rpcauth("a:b$c$d"), None);
    }

    #[test]
    fn the_cookie_is_for_its_owner_alone_and_goes_with_the_server() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cookie");
        let cookie = Cookie::create(&path, [3; 32]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("__cookie__:{}", "03".repeat(32)));
        let header = format!("Basic {}", STANDARD.encode(&text));
        assert!(is_authorized(&[cookie.user()], header.as_bytes()));
        drop(cookie);
        assert!(!path.exists());
    }
}
