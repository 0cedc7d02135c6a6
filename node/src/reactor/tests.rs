use super::*;

use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};

const LOOPBACK: &str = "127.0.0.1:0";
const TURN: Duration = Duration::from_millis(20);
/// Far more turns than any of these tests takes.
const TURNS: usize = 2_000;

/// A reactor that listens, and where.
fn listening(accepted_max: usize) -> (Reactor, SocketAddr) {
    let mut reactor = Reactor::new(accepted_max).unwrap();
    let address = reactor.listen(LOOPBACK.parse().unwrap()).unwrap();
    (reactor, address)
}

impl Reactor {
    /// Turns until something happens.
    fn wait(&mut self) -> Happening {
        for _ in 0..TURNS {
            if let Some(happening) = self.next() {
                return happening;
            }
            self.turn(TURN, |_| true).unwrap();
        }
        panic!("nothing happens");
    }

    fn wait_accepted(&mut self) -> u64 {
        match self.wait() {
            Happening::Accepted { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_dialled_connection_is_told_on_both_ends_and_carries_bytes_both_ways() {
    let (mut server, address) = listening(10);
    let mut client = Reactor::new(0).unwrap();
    client.dial(2, address);
    let Happening::Dialled { id: 2, local } = client.wait() else { panic!() };
    let Happening::Accepted { id: 1, remote, local: served } = server.wait() else { panic!() };
    assert_eq!((remote, served), (local, address));
    client.send(2, b"question".to_vec());
    assert_eq!(client.wait(), Happening::Written { id: 2, bytes: 8 });
    assert_eq!(server.wait(), Happening::Received { id: 1, bytes: b"question".to_vec() });
    server.send(1, b"answer".to_vec());
    assert_eq!(client.wait(), Happening::Received { id: 2, bytes: b"answer".to_vec() });
    client.close(2);
    assert_eq!(server.wait(), Happening::Written { id: 1, bytes: 6 });
    assert_eq!(server.wait(), Happening::Closed { id: 1 });
    assert_eq!((server.len(), server.accepted, client.len()), (0, 0, 0));
    // Of what we closed ourselves nothing is said.
    client.turn(TURN, |_| true).unwrap();
    assert_eq!(client.next(), None);
}

#[test]
fn a_dial_that_fails_says_why() {
    let closed = StdListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
    let mut reactor = Reactor::new(0).unwrap();
    reactor.dial(4, closed);
    let Happening::DialFailed { id: 4, reason } = reactor.wait() else { panic!() };
    assert!(reason.contains("refused"), "{reason}");
    assert_eq!(reactor.len(), 0);
}

#[test]
fn a_connection_that_is_not_wanted_is_not_read_and_its_sender_waits() {
    const SIZE: usize = 16 << 20;
    let (mut server, address) = listening(10);
    let mut client = Reactor::new(0).unwrap();
    client.dial(2, address);
    assert!(matches!(client.wait(), Happening::Dialled { .. }));
    assert_eq!(server.wait_accepted(), 1);
    let all: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
    client.send(2, all.clone());
    let mut written = 0;
    let mut read = Vec::new();
    for turn in 0..TURNS {
        let is_wanted = 50 <= turn;
        client.turn(Duration::ZERO, |_| true).unwrap();
        server.turn(Duration::ZERO, |_| is_wanted).unwrap();
        while let Some(happening) = client.next() {
            let Happening::Written { bytes, .. } = happening else { panic!("{happening:?}") };
            written += bytes;
        }
        while let Some(happening) = server.next() {
            let Happening::Received { bytes, .. } = happening else { panic!("{happening:?}") };
            assert!(is_wanted && bytes.len() <= READ_MAX);
            read.extend(bytes);
        }
        assert_eq!(written + client.connections[&2].queued, SIZE);
        if !is_wanted {
            assert!(written < SIZE, "the system holds {written} bytes");
        }
        if read.len() == SIZE {
            break;
        }
    }
    assert!(read == all && written == SIZE, "{} of {written}", read.len());
}

#[test]
fn a_peer_that_takes_nothing_is_closed_when_too_much_waits_for_it() {
    let (mut server, address) = listening(10);
    let _peer = StdStream::connect(address).unwrap();
    let id = server.wait_accepted();
    for _ in 0..QUEUE_MAX / (1 << 20) + 16 {
        server.send(id, vec![0; 1 << 20]);
    }
    let happened: Vec<Happening> = std::iter::from_fn(|| server.next()).collect();
    assert_eq!(happened.last(), Some(&Happening::Closed { id }));
    assert_eq!(server.len(), 0);
}

#[test]
fn what_came_before_the_peer_closed_is_received() {
    let (mut server, address) = listening(10);
    let mut peer = StdStream::connect(address).unwrap();
    let id = server.wait_accepted();
    let mut all = vec![7; 3 * READ_MAX + 5];
    peer.write_all(&all).unwrap();
    peer.shutdown(Shutdown::Both).unwrap();
    loop {
        match server.wait() {
            Happening::Received { bytes, .. } => drop(all.drain(..bytes.len())),
            Happening::Closed { id: closed } => break assert_eq!(closed, id),
            other => panic!("{other:?}"),
        }
    }
    assert!(all.is_empty(), "{} bytes are lost", all.len());
}

#[test]
fn connections_beyond_the_limit_are_closed_until_others_go() {
    let (mut server, address) = listening(3);
    let connect = || StdStream::connect(address).unwrap();
    let _kept: Vec<StdStream> = (0..3).map(|_| connect()).collect();
    let ids = [(); 3].map(|()| server.wait_accepted());
    assert_eq!(ids, [1, 3, 5]);
    let mut refused = connect();
    for _ in 0..5 {
        server.turn(TURN, |_| true).unwrap();
    }
    assert_eq!((server.next(), server.len()), (None, 3));
    assert_eq!(refused.read(&mut [0]).unwrap_or_default(), 0);
    server.close(3);
    let _taken = connect();
    assert_eq!(server.wait_accepted(), 7);
}

#[test]
fn a_thousand_connections_and_more_are_served() {
    const COUNT: usize = 1_200;
    if allow_descriptors() < 2 * COUNT as u64 + 500 {
        println!("left out: the system allows too few descriptors");
        return;
    }
    let (mut server, address) = listening(COUNT);
    let mut peers = Vec::new();
    let mut received = 0;
    for at in 0..COUNT {
        let mut peer = StdStream::connect(address).unwrap();
        peer.write_all(&[u8::try_from(at % 256).unwrap()]).unwrap();
        peers.push(peer);
        // The system holds only so many that are not accepted.
        server.turn(Duration::ZERO, |_| true).unwrap();
    }
    for _ in 0..TURNS {
        server.turn(TURN, |_| true).unwrap();
        while let Some(happening) = server.next() {
            if let Happening::Received { id, bytes } = happening {
                received += 1;
                server.send(id, bytes);
            }
        }
        if received == COUNT {
            break;
        }
    }
    assert_eq!((server.len(), received), (COUNT, COUNT));
    for (at, mut peer) in peers.into_iter().enumerate() {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        assert_eq!(usize::from(byte[0]), at % 256);
    }
}

#[test]
fn another_thread_ends_a_turn() {
    let mut reactor = Reactor::new(0).unwrap();
    let waker = reactor.waker();
    let start = clock::instant();
    std::thread::scope(|scope| {
        scope.spawn(move || waker.wake().unwrap());
        reactor.turn(Duration::from_secs(600), |_| true).unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(300));
}

#[test]
fn without_descriptors_a_listener_rests_and_does_not_spin() {
    const CHILD: &str = "CAESURE_WITHOUT_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        return run_out_of_descriptors();
    }
    let test = "reactor::tests::without_descriptors_a_listener_rests_and_does_not_spin";
    let output = crate::tests::run_alone(test, CHILD, "1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// In a process of its own, since the limit is the process's.
fn run_out_of_descriptors() {
    let (mut server, address) = listening(100);
    let mut peers = vec![StdStream::connect(address).unwrap()];
    server.wait_accepted();
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = |current| setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum });
    // Those that are open stay; the next accept finds none.
    peers.push(StdStream::connect(address).unwrap());
    limit(3).unwrap();
    let mut turns = 0;
    let end = clock::instant() + Duration::from_secs(1);
    while clock::instant() < end {
        server.turn(Duration::from_secs(1), |_| true).unwrap();
        turns += 1;
    }
    assert!(turns <= 10, "{turns} turns in a second");
    assert_eq!(server.len(), 1);
    limit(1_000).unwrap();
    // However long a turn may last, it ends when the rest does.
    server.turn(Duration::from_secs(3_600), |_| true).unwrap();
    assert_eq!(server.wait_accepted(), 3);
}
