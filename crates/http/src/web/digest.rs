//! HTTP digest with SHA-256 (RFC 7616): users, nonces and what a browser answers.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caesure_hash::{hmac_sha256, sha256};
use caesure_text::hex;

use crate::auth::equal;

/// What browsers call the place that they ask a name for.
const REALM: &str = "caesure";
/// How long a nonce may be used.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Of how many nonces it is known which counts were used; the oldest go first, and become stale.
const NONCES: usize = 1024;

/// One who may use the web UI. The password is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUser {
    name: String,
    /// SHA-256 of `name:realm:password`, in hexadecimal. RFC 7616: `H(A1)`.
    hash: String,
}

impl WebUser {
    /// Takes a name and a password.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.into(), hash: digest(&[name, REALM, password]) }
    }
}

/// What an `Authorization` header is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is one of the users.
    User(String),
    /// The password is right, the nonce is too old or was used before: a new one will do.
    Stale,
    Refused,
}

/// Which nonces were used, and how often.
#[derive(Debug)]
pub(crate) struct Nonces {
    secret: [u8; 32],
    issued: u64,
    /// By its number: the highest count, and which of the 64 up to it were used.
    used: BTreeMap<u64, (u64, u64)>,
    /// Nonces of lower numbers are stale.
    floor: u64,
}

impl Nonces {
    pub(crate) const fn new(secret: [u8; 32]) -> Self {
        Self { secret, issued: 0, used: BTreeMap::new(), floor: 0 }
    }

    /// Makes the value of `WWW-Authenticate`. Nonces that nobody uses take no memory: they prove
    /// themselves.
    pub(crate) fn challenge(&mut self, now: Duration, is_stale: bool) -> String {
        self.issued += 1;
        let nonce = self.nonce(self.issued, now.as_secs());
        let stale = if is_stale { ", stale=true" } else { "" };
        format!(
            "Digest realm=\"{REALM}\", qop=\"auth\", algorithm=SHA-256, nonce=\"{nonce}\"{stale}"
        )
    }

    fn nonce(&self, number: u64, seconds: u64) -> String {
        let head = format!("{number:016x}{seconds:016x}");
        let proof = hmac_sha256(&self.secret, head.as_bytes());
        head + hex::encode(&proof[..16]).as_str()
    }

    /// Takes a count of a nonce; false if it may not be used (again).
    fn take(&mut self, nonce: &str, count: u64, now: Duration) -> bool {
        let number = |range| u64::from_str_radix(nonce.get(range)?, 16).ok();
        let (Some(number), Some(seconds)) = (number(0..16), number(16..32)) else { return false };
        let is_own = equal(self.nonce(number, seconds).as_bytes(), nonce.as_bytes());
        let is_old = LIFETIME.as_secs() < now.as_secs().saturating_sub(seconds);
        if !is_own || is_old || number < self.floor || count == 0 {
            return false;
        }
        let (highest, seen) = self.used.entry(number).or_default();
        if *highest < count {
            *seen =
                seen.checked_shl(u32::try_from(count - *highest).unwrap_or(64)).unwrap_or(0) | 1;
            *highest = count;
        } else {
            let bit = 1_u64.checked_shl(u32::try_from(*highest - count).unwrap_or(64));
            let Some(bit) = bit.filter(|bit| *seen & bit == 0) else { return false };
            *seen |= bit;
        }
        if NONCES < self.used.len()
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = oldest + 1;
        }
        true
    }

    /// Judges an `Authorization` header of a request.
    pub(crate) fn judge(
        &mut self,
        users: &[WebUser],
        header: &str,
        (method, target): (&str, &str),
        now: Duration,
    ) -> Verdict {
        let Some(fields) = header.strip_prefix("Digest ").and_then(fields) else {
            return Verdict::Refused;
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let is_ours = field("realm") == REALM
            && field("uri") == target
            && field("qop") == "auth"
            && field("algorithm").eq_ignore_ascii_case("SHA-256");
        let Ok(count) = u64::from_str_radix(field("nc"), 16) else { return Verdict::Refused };
        let request = digest(&[method, field("uri")]);
        let mut found = None;
        for user in users {
            let proof = [field("nonce"), field("nc"), field("cnonce")];
            let expected = response(&user.hash, proof, &request);
            let is_right = equal(expected.as_bytes(), field("response").as_bytes());
            if is_right & equal(user.name.as_bytes(), field("username").as_bytes()) {
                found = Some(user);
            }
        }
        match found.filter(|_| is_ours) {
            Some(_) if !self.take(field("nonce"), count, now) => Verdict::Stale,
            Some(user) => Verdict::User(user.name.clone()),
            None => Verdict::Refused,
        }
    }
}

/// Whether a header of HTTP Basic names one of the users.
pub(crate) fn is_basic(users: &[WebUser], header: &str) -> bool {
    let decode = |text: &str| String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok();
    let Some(given) = header.strip_prefix("Basic ").and_then(decode) else { return false };
    let Some((name, password)) = given.split_once(':') else { return false };
    let given = WebUser::new(name, password);
    let is = |user: &WebUser| {
        equal(user.hash.as_bytes(), given.hash.as_bytes())
            & equal(user.name.as_bytes(), name.as_bytes())
    };
    users.iter().fold(false, |found, user| found | is(user))
}

/// RFC 7616, section 3.4.1, with qop=auth; `request` is `H(A2)`.
fn response(user: &str, [nonce, count, cnonce]: [&str; 3], request: &str) -> String {
    digest(&[user, nonce, count, cnonce, "auth", request])
}

fn digest(parts: &[&str]) -> String {
    hex::encode(&sha256(parts.join(":").as_bytes()))
}

/// Reads `name=value, name="value"`; none if it is another text.
fn fields(text: &str) -> Option<BTreeMap<&str, String>> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let mut end = after.len();
        if after.starts_with('"') {
            letters.next();
            loop {
                match letters.next()? {
                    (at, '"') => break end = at + 1,
                    (_, '\\') => value.push(letters.next()?.1),
                    (_, letter) => value.push(letter),
                }
            }
        } else {
            end = after.find(',').unwrap_or(end);
            value.push_str(after[..end].trim());
        }
        fields.insert(name.trim(), value);
        rest = after[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_that_of_the_example_in_rfc_7616() {
        let user = digest(&["Mufasa", "http-auth@example.org", "Circle of Life"]);
        let proof = [
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "00000001",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        ];
        let request = digest(&["GET", "/dir/index.html"]);
        let expected = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert_eq!(response(&user, proof, &request), expected);
    }

    #[test]
    fn fields_may_be_quoted_and_any_text_is_read_or_refused() {
        let read = fields(r#"username="a\"b, c", nc=1 , qop=auth,x="""#).unwrap();
        let pairs: Vec<(&str, &str)> = read.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(pairs, [("nc", "1"), ("qop", "auth"), ("username", "a\"b, c"), ("x", "")]);
        for cut in ["a", "a=\"", "a=\"b\\", "a=\"b\" c"] {
            assert_eq!(fields(cut), None, "{cut}");
        }
    }

    #[test]
    fn nonces_end_and_few_are_kept_in_mind() {
        let mut nonces = Nonces::new([1; 32]);
        let made = |nonces: &mut Nonces, seconds| {
            let text = nonces.challenge(Duration::from_secs(seconds), false);
            text.split_once("nonce=\"").unwrap().1.trim_end_matches('"').to_owned()
        };
        let old = made(&mut nonces, 0);
        let (last, over) = (LIFETIME, LIFETIME + Duration::from_secs(1));
        assert!(!nonces.take(&old, 0, last), "counts begin with one");
        assert!(nonces.take(&old, 1, last));
        assert!(!nonces.take(&old, 2, over));
        for _ in 0..10_000 {
            made(&mut nonces, 0);
        }
        assert_eq!(nonces.used.len(), 1, "those that nobody answers take no memory");
        assert!(nonces.take(&old, 2, last));
        for _ in 0..3000 {
            let nonce = made(&mut nonces, 0);
            assert!(nonces.take(&nonce, 1, last));
        }
        assert_eq!(nonces.used.len(), NONCES);
        assert!(!nonces.take(&old, 2, last), "what is forgotten cannot be used again");
        assert!(!Nonces::new([2; 32]).take(&old, 3, last), "another process's");
    }
}
