//! A proxy before a server: it counts requests, remembers answers, and spoils some.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server may not be asked that.
    Denied,
    /// The server is busy, this once.
    Busy,
    /// The answer takes its time.
    Late,
    /// The connection ends without an answer.
    Closed,
    /// The connection ends in the middle of the answer.
    Cut,
    /// Half of the answer is said to be all.
    Half,
    /// The answer to the request before comes again.
    Again,
    /// Another program answers.
    Foreign,
    /// Of a removal one key is refused.
    OneDenied,
    /// Nothing happens until the fault is another one; then the connection ends.
    Held,
}

impl Fault {
    /// Whether the server has the request all the same.
    fn is_forwarded(self) -> bool {
        !matches!(self, Fault::Denied | Fault::Busy | Fault::Foreign | Fault::Held)
    }
}

/// A request: its method, and its path with its query.
pub(crate) type Asked = (String, String);

/// What a request is answered, by its path with its query: a status and a body.
type Instead = Box<dyn FnMut(&str) -> (u16, String) + Send>;

#[derive(Default)]
struct State {
    log: Vec<Asked>,
    /// Which request is spoilt, counted from 1, and how.
    fault: Option<(usize, Fault)>,
    /// Answers that are had already, by request.
    answers: HashMap<Asked, Vec<u8>>,
    last: Vec<u8>,
    /// Headers of requests that the server does not get, as they begin in small letters.
    dropped: Vec<&'static str>,
    /// Requests of that method with that in their path do not come to the server.
    instead: Option<(&'static str, &'static str, Instead)>,
    /// How many GETs are answered at once from one number on, up to another; others are told that the server is busy.
    most_at_once: Option<(std::ops::Range<usize>, usize)>,
    under_way: usize,
    /// How many were under way when each one came, with itself, and whether it was refused.
    at_once: Vec<(usize, bool)>,
}

/// A proxy, until it is dropped.
pub(crate) struct Proxy {
    address: String,
    state: Arc<Mutex<State>>,
    is_over: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts one before a server. It asks the same only once until something is changed by the proxy, or [`Proxy::forget`].
    pub(crate) fn start(server: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (state, is_over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let proxy = Proxy { address, state: Arc::clone(&state), is_over: Arc::clone(&is_over) };
        let server = server.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (state, server) = (Arc::clone(&state), server.clone());
                // A client that goes away before its answer is no fault of ours.
                thread::spawn(move || drop(serve(client, &server, &state)));
            }
        });
        proxy
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics")
    }

    /// Counts from now on, and spoils one request.
    pub(crate) fn begin(&self, fault: Option<(usize, Fault)>) {
        let mut state = self.state();
        state.log.clear();
        state.fault = fault;
    }

    /// Asks the server everything anew: it was changed past the proxy.
    pub(crate) fn forget(&self) {
        self.state().answers.clear();
    }

    /// Keeps headers from the server that begin so, in small letters.
    pub(crate) fn drop_headers(&self, names: &[&'static str]) {
        self.state().dropped = names.to_vec();
    }

    /// Answers only so many at once while requests with these numbers come, and takes a while for each.
    pub(crate) fn throttle(&self, numbers: std::ops::Range<usize>, most: usize) {
        self.begin(None);
        self.state().most_at_once = Some((numbers, most));
    }

    /// How many requests were under way when each one came since then, and whether it was refused.
    pub(crate) fn at_once(&self) -> Vec<(usize, bool)> {
        self.state().at_once.clone()
    }

    /// Answers GETs with that in their path in place of the server.
    pub(crate) fn answer(&self, part: &'static str, answer: impl FnMut(&str) -> (u16, String) + Send + 'static) {
        self.answer_to("GET", part, answer);
    }

    /// The same of another method.
    pub(crate) fn answer_to(
        &self,
        method: &'static str,
        part: &'static str,
        answer: impl FnMut(&str) -> (u16, String) + Send + 'static,
    ) {
        self.state().instead = Some((method, part, Box::new(answer)));
    }

    /// What was asked since then, in order.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.state().log.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

/// Reads a request: its head, and all of it.
fn request(client: &mut TcpStream) -> io::Result<(Asked, Vec<u8>)> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lengths = head.lines().filter_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; lengths.next_back().unwrap_or(0)];
    client.read_exact(&mut body)?;
    bytes.extend(body);
    let mut words = head.split(' ').map(str::to_owned);
    Ok(((words.next().unwrap_or_default(), words.next().unwrap_or_default()), bytes))
}

/// Asks the server, and has all that it says.
fn asked(server: &str, request: &[u8], dropped: &[&str]) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(server)?;
    upstream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (head, body) = request.split_at(body_at(request));
    let text = String::from_utf8_lossy(head).into_owned();
    let is_kept = |line: &&str| !dropped.iter().chain(&["connection:"]).any(|name| line.to_lowercase().starts_with(name));
    let kept: Vec<&str> = text.trim_end().split("\r\n").filter(is_kept).collect();
    upstream.write_all(format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).as_bytes())?;
    upstream.write_all(body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Where the body of a message begins.
fn body_at(message: &[u8]) -> usize {
    message.windows(4).position(|end| end == b"\r\n\r\n").map_or(message.len(), |at| at + 4)
}

fn serve(mut client: TcpStream, server: &str, state: &Mutex<State>) -> io::Result<()> {
    let (key, request) = request(&mut client)?;
    let state = || state.lock().expect("no thread panics");
    let (fault, known, last, dropped) = {
        let mut state = state();
        state.log.push(key.clone());
        let number = state.log.len();
        let fault = state.fault.filter(|(spoilt, _)| *spoilt == number).map(|(_, fault)| fault);
        (fault, state.answers.get(&key).cloned(), state.last.clone(), state.dropped.clone())
    };
    let instead = match &mut state().instead {
        Some((method, part, answer)) if key.0 == *method && key.1.contains(*part) => Some(answer(&key.1)),
        _ => None,
    };
    if let Some((status, body)) = instead {
        let head =
            format!("HTTP/1.1 {status} As the test wants it\r\nContent-Type: application/xml\r\nContent-Length: {}", body.len());
        client.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes())?;
        return client.shutdown(Shutdown::Both);
    }
    let throttled = {
        let mut state = state();
        let most =
            state.most_at_once.clone().map(|(numbers, most)| if numbers.contains(&state.log.len()) { most } else { usize::MAX });
        most.map(|most| {
            state.under_way += 1;
            let under_way = state.under_way;
            let is_refused = under_way > most;
            state.at_once.push((under_way, is_refused));
            is_refused
        })
    };
    if let Some(is_refused) = throttled {
        if !is_refused {
            thread::sleep(Duration::from_millis(20));
        }
        state().under_way -= 1;
        if is_refused {
            client.write_all(&spoil(Fault::Busy, &[], &[], key.0 == "HEAD"))?;
            return client.shutdown(Shutdown::Both);
        }
    }
    if fault == Some(Fault::Held) {
        while state().fault.is_some_and(|(_, fault)| fault == Fault::Held) {
            thread::sleep(Duration::from_millis(5));
        }
        return client.shutdown(Shutdown::Both);
    }
    let is_forwarded = fault.is_none_or(Fault::is_forwarded);
    let denied = (fault == Some(Fault::OneDenied)).then(|| without_one(&request)).flatten();
    let answer = match (known, &denied) {
        (Some(answer), _) => answer,
        (None, Some((request, _))) => asked(server, request, &dropped)?,
        (None, None) if is_forwarded => asked(server, &request, &dropped)?,
        (None, None) => Vec::new(),
    };
    let spoilt = match (fault, denied) {
        (Some(Fault::OneDenied), Some((_, key))) => with_error(&answer, &key),
        (Some(fault), _) => spoil(fault, &answer, &last, key.0 == "HEAD"),
        (None, _) => answer.clone(),
    };
    if is_forwarded {
        let mut state = state();
        match key.0.as_str() {
            "GET" | "HEAD" => drop(state.answers.insert(key, answer.clone())),
            _ => state.answers.clear(),
        }
        state.last = answer;
    }
    client.write_all(&spoilt)?;
    client.shutdown(Shutdown::Both)
}

/// A message with another body.
fn with_body(message: &[u8], body: &str) -> Vec<u8> {
    let head = String::from_utf8_lossy(&message[..body_at(message)]).into_owned();
    let lines = head.trim_end().split("\r\n").filter(|line| !line.to_lowercase().starts_with("content-length:"));
    let head = lines.collect::<Vec<_>>().join("\r\n");
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A removal without its first key, and that; nothing for another request.
fn without_one(request: &[u8]) -> Option<(Vec<u8>, String)> {
    let body = String::from_utf8_lossy(&request[body_at(request)..]).into_owned();
    let (before, rest) = body.split_once("<Object><Key>")?;
    let (key, after) = rest.split_once("</Key></Object>")?;
    Some((with_body(request, &format!("{before}{after}")), key.to_owned()))
}

/// The answer to a removal, with one key that was refused.
fn with_error(answer: &[u8], key: &str) -> Vec<u8> {
    let body = String::from_utf8_lossy(&answer[body_at(answer)..]).into_owned();
    let error = format!("<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>as the test wants it</Message></Error>");
    let end = "</DeleteResult>";
    with_body(answer, &body.replace(end, &format!("{error}{end}")))
}

fn spoil(fault: Fault, answer: &[u8], last: &[u8], is_head: bool) -> Vec<u8> {
    let (head, body) = answer.split_at(body_at(answer));
    let half = &body[..body.len() / 2];
    let new = |status: &str, kind: &str, body: &str| {
        let body_sent = if is_head { "" } else { body };
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body_sent}")
            .into_bytes()
    };
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    match fault {
        Fault::Denied => new("403 Forbidden", "application/xml", &error("AccessDenied")),
        Fault::Busy => new("503 Slow Down", "application/xml", &error("SlowDown")),
        Fault::Late => {
            thread::sleep(Duration::from_millis(300));
            answer.to_owned()
        }
        Fault::Closed => Vec::new(),
        Fault::Cut => [head, half].concat(),
        Fault::Half => {
            let text = String::from_utf8_lossy(head).into_owned();
            let lines = text.trim_end().split("\r\n").filter(|line| !line.to_lowercase().starts_with("content-length:"));
            let head = lines.collect::<Vec<_>>().join("\r\n");
            [format!("{head}\r\nContent-Length: {}\r\n\r\n", half.len()).as_bytes(), half].concat()
        }
        Fault::Again => last.to_owned(),
        Fault::OneDenied | Fault::Held => answer.to_owned(),
        Fault::Foreign => new("200 OK", "text/html", "<html><body>Please log in</body></html>"),
    }
}
