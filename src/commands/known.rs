//! The peers to join through, by all their addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kadring::console::perform::resolve;
use kadring::runtime::Resolve;

use super::Failed;

/// The addresses of the peers to join through.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct JoinAddresses {
    /// Every address of every name: the first ones of all names before the second ones.
    pub(crate) addrs: Vec<SocketAddr>,
    /// The addresses of each name that has several.
    pub(crate) hosts: Vec<Vec<SocketAddr>>,
}

/// The addresses of the peers to join through that a socket on `bind` can reach.
///
/// # Errors
/// No name has one; a name that has none beside others that do is only reported.
pub(crate) fn bootstrap(names: &[String], bind: IpAddr) -> Result<JoinAddresses, Failed> {
    let (known, trouble) = look_up(names, bind);
    if known.addrs.is_empty() && !trouble.is_empty() {
        return Err(Failed::start(trouble.join("; ")));
    }
    for reason in trouble {
        log::warn!("{reason}");
    }
    Ok(known)
}

/// The same, and why some names have no such address.
fn look_up(names: &[String], bind: IpAddr) -> (JoinAddresses, Vec<String>) {
    let (mut hosts, mut trouble) = (Vec::new(), Vec::new());
    for name in names {
        match resolve(name) {
            Ok(addrs) => match addrs.into_iter().filter(|addr| reaches(bind, addr)).collect::<Vec<_>>() {
                addrs if addrs.is_empty() => {
                    trouble.push(format!("{name} has no address that the one listened on can reach"));
                }
                addrs => hosts.push(addrs),
            },
            Err(reason) => trouble.push(reason),
        }
    }
    (JoinAddresses::of(hosts), trouble)
}

/// What looks the names up anew; none where all are addresses.
pub(crate) fn resolving(names: Vec<String>, bind: IpAddr) -> Option<Resolve> {
    let has_names = names.iter().any(|name| name.parse::<SocketAddr>().is_err());
    let resolve = move || match look_up(&names, bind) {
        (JoinAddresses { addrs, .. }, trouble) if addrs.is_empty() => Err(trouble.join("; ")),
        (JoinAddresses { addrs, hosts }, _) => Ok((addrs, hosts)),
    };
    has_names.then(|| Resolve(Arc::new(resolve)))
}

impl JoinAddresses {
    fn of(mut hosts: Vec<Vec<SocketAddr>>) -> Self {
        let longest = hosts.iter().map(Vec::len).max().unwrap_or(0);
        let mut addrs: Vec<SocketAddr> = Vec::new();
        for addr in (0..longest).flat_map(|at| hosts.iter().filter_map(move |host| host.get(at))) {
            if !addrs.contains(addr) {
                addrs.push(*addr);
            }
        }
        hosts.retain(|host| host.len() > 1);
        Self { addrs, hosts }
    }
}

/// Whether a socket on `bind` can reach `addr`, by their families: one on all addresses of the newer serves both.
fn reaches(bind: IpAddr, addr: &SocketAddr) -> bool {
    bind.is_ipv6() && bind.is_unspecified() || bind.to_canonical().is_ipv4() == addr.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Exit;

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|addr| addr.parse().unwrap()).collect()
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_address_of_every_name_is_known_and_each_name_has_its_turn() {
        let hosts = vec![addrs(&["[::1]:1", "127.0.0.1:1"]), addrs(&["[::1]:2"]), addrs(&["10.0.0.1:3", "[::1]:2"])];
        let known = JoinAddresses::of(hosts.clone());
        assert_eq!(known.addrs, addrs(&["[::1]:1", "[::1]:2", "10.0.0.1:3", "127.0.0.1:1"]));
        assert_eq!(known.hosts, [hosts[0].clone(), hosts[2].clone()]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_of_one_link_may_name_its_interface() {
        let known = |name: &str| bootstrap(&names(&[name]), "::".parse().unwrap()).unwrap().addrs;
        // The first interface that Linux makes is the machine's own.
        let numbered = addrs(&["[fe80::1%1]:7000"]);
        assert_eq!((known("[fe80::1%lo]:7000"), known("[fe80::1%1]:7000")), (numbered.clone(), numbered));
        let error = bootstrap(&names(&["[fe80::1%none]:7000"]), "::".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("cannot resolve [fe80::1%none]:7000"), "{error}");
    }

    #[test]
    fn of_names_of_both_families_those_count_that_the_socket_reaches() {
        let both = names(&["[::1]:1", "127.0.0.1:1"]);
        let known = |bind: &str| bootstrap(&both, bind.parse().unwrap()).unwrap().addrs;
        assert_eq!(known("::"), addrs(&["[::1]:1", "127.0.0.1:1"]));
        assert_eq!((known("::1"), known("0.0.0.0")), (addrs(&["[::1]:1"]), addrs(&["127.0.0.1:1"])));
        let error = bootstrap(&names(&["[::1]:1"]), "127.0.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(error.exit, Exit::NotStarted);
    }

    #[test]
    fn addresses_are_never_looked_up_anew() {
        let any = "0.0.0.0".parse().unwrap();
        let has_names =
            |names: &[&str]| resolving(names.iter().map(|name| (*name).to_owned()).collect(), any).is_some();
        assert!(!has_names(&[]) && !has_names(&["10.0.0.1:7000", "[fd00::1]:7000"]));
        assert!(has_names(&["10.0.0.1:7000", "nas.home:7000"]));
    }
}
