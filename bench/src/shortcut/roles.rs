//! The three processes.

use std::collections::HashMap;
use std::io::{BufRead as _, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::epoll;

/// A measured slice of one arm.
const SLICE: Duration = Duration::from_millis(40);
const BUFFER: usize = 128 << 10;

/// Length of the request and of the answer, at the start of each request.
const HEADER: usize = 8;

fn announce(listener: &TcpListener) -> Result<()> {
    println!("{}", listener.local_addr()?);
    Ok(std::io::stdout().flush()?)
}

/// Answers each request with as many bytes as it asks for.
pub fn server() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&listener)?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        stream.read_exact(&mut buffer[..HEADER])?;
        let word = |at: usize| u32::from_ne_bytes(buffer[at..at + 4].try_into().expect("4 bytes"));
        let (mut request, answer) = (word(0) as usize - HEADER, word(4) as usize);
        while request > 0 {
            let n = stream.read(&mut buffer[..request.min(BUFFER)])?;
            ensure!(n > 0, "the request ends early");
            request -= n;
        }
        stream.write_all(&buffer[..answer])?;
    }
}

/// Forwards every connection to `upstream`: one thread, epoll, as sidecars do.
pub fn proxy(upstream: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:15001")?;
    announce(&listener)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let key = epoll::EventData::new_u64(0);
    epoll::add(&poll, &listener, key, epoll::EventFlags::IN)?;
    let mut ends: HashMap<u64, (TcpStream, TcpStream)> = HashMap::new();
    let mut next = 1;
    let mut buffer = vec![0; BUFFER];
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == 0 {
                let (client, _) = listener.accept()?;
                let server = TcpStream::connect(upstream)?;
                for (from, to) in [(&client, &server), (&server, &client)] {
                    from.set_nodelay(true)?;
                    let data = epoll::EventData::new_u64(next);
                    epoll::add(&poll, from, data, epoll::EventFlags::IN)?;
                    ends.insert(next, (from.try_clone()?, to.try_clone()?));
                    next += 1;
                }
                continue;
            }
            let Some((from, to)) = ends.get_mut(&key) else {
                continue;
            };
            let n = from.read(&mut buffer)?;
            if n == 0 {
                ends.remove(&key);
                continue;
            }
            to.write_all(&buffer[..n])?;
        }
    }
}

/// Opens connections and measures on them, as told line by line.
pub fn client() -> Result<()> {
    let mut open: HashMap<String, TcpStream> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["open", name, to] => {
                let stream = TcpStream::connect(to.parse::<SocketAddr>()?)?;
                stream.set_nodelay(true)?;
                open.insert(name.to_owned(), stream);
                println!("open");
            }
            ["run", name, size] => {
                let stream = open.get_mut(name).context("not open")?;
                println!("{}", run(stream, size.parse()?)?);
            }
            ["bulk", name, bytes] => {
                let stream = open.get_mut(name).context("not open")?;
                println!("{}", bulk(stream, bytes.parse()?)?);
            }
            _ => bail!("not understood: {line}"),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn header(request: usize, answer: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&(request as u32).to_ne_bytes());
    bytes[4..].copy_from_slice(&(answer as u32).to_ne_bytes());
    bytes
}

/// One request after the other for a slice of time: median latency in
/// nanoseconds, and requests per second.
fn run(stream: &mut TcpStream, size: usize) -> Result<String> {
    let mut request = vec![7; size];
    request[..HEADER].copy_from_slice(&header(size, size));
    let mut answer = vec![0; size];
    let mut times = Vec::new();
    for _ in 0..8 {
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
    }
    let start = Instant::now();
    while start.elapsed() < SLICE {
        let begin = Instant::now();
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        times.push(begin.elapsed().as_nanos() as u64);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(format!("{} {rate}", times[times.len() / 2]))
}

/// One long request; bytes per second.
fn bulk(stream: &mut TcpStream, bytes: usize) -> Result<String> {
    let chunk = vec![3; 65_536];
    let start = Instant::now();
    stream.write_all(&header(bytes + HEADER, 1))?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(chunk.len());
        stream.write_all(&chunk[..n])?;
        left -= n;
    }
    stream.read_exact(&mut [0])?;
    Ok(format!(
        "0 {}",
        bytes as f64 / start.elapsed().as_secs_f64()
    ))
}
