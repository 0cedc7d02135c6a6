//! Names of addresses, by reverse DNS: asked for on a thread of its own, and kept.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Sender, bounded};

use crate::disk::spawn_as;

/// How many addresses wait to be asked for; more are asked for at another look.
const WAITING: usize = 64;
/// How many names are kept; beyond that all are forgotten.
const KEPT: usize = 4096;

type Known = Arc<Mutex<BTreeMap<IpAddr, Option<String>>>>;

/// Who knows names. A clone knows the same.
#[derive(Clone)]
pub(crate) struct HostNames {
    ask: Sender<IpAddr>,
    known: Known,
}

impl HostNames {
    /// Starts the thread, which asks with `look_up`. It ends when nobody can ask any more.
    pub(crate) fn start(look_up: impl Fn(IpAddr) -> Option<String> + Send + 'static) -> Self {
        let (ask, asked) = bounded::<IpAddr>(WAITING);
        let known = Known::default();
        let told = Arc::clone(&known);
        spawn_as("host names", move || {
            for address in asked {
                if !lock(&told).contains_key(&address) {
                    let name = look_up(address);
                    let mut known = lock(&told);
                    if KEPT <= known.len() {
                        known.clear();
                    }
                    known.insert(address, name);
                }
            }
        });
        Self { ask, known }
    }

    /// Returns a name that is known by now; has it asked for otherwise.
    pub(crate) fn find(&self, address: IpAddr) -> Option<String> {
        if let Some(name) = lock(&self.known).get(&address) {
            return name.clone();
        }
        // Where too many wait, the next look asks again.
        let _ = self.ask.try_send(address);
        None
    }
}

/// Asks the system.
pub(crate) fn ask_system(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    // Where there is no name, the system says the address.
    (name != address.to_string()).then_some(name)
}

fn lock(known: &Known) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, Option<String>>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_is_asked_for_once_and_no_more_wait_than_fit() {
        let (asked, seen) = bounded(1000);
        let (release, gate) = bounded::<()>(1000);
        let names = HostNames::start(move |address| {
            asked.send(address).unwrap();
            gate.recv().ok()?;
            Some(format!("<b>{address}</b>"))
        });
        let address = |i: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + i));
        for i in 0..500 {
            assert_eq!(names.find(address(i % 250)), None);
        }
        (0..1000).for_each(|_| release.send(()).unwrap());
        let patience = Duration::from_secs(60);
        while names.find(address(0)).is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(names.find(address(0)).unwrap(), "<b>10.0.0.0</b>");
        drop(names);
        let mut all = Vec::new();
        while let Ok(address) = seen.recv_timeout(patience) {
            all.push(address);
        }
        assert!(all.len() <= WAITING + 2, "{}", all.len());
        assert_eq!(all.iter().filter(|it| **it == address(0)).count(), 1);
    }
}
