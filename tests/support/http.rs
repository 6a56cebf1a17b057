//! HTTP/1 over a plain socket, so that tests can also send what no client would.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to the gateway.
pub struct Connection {
    socket: BufReader<TcpStream>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One well-formed request, whose head is put together by [`Request::head`].
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn get(path: &str) -> Request {
        Request { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { method: "POST", body: body.into(), ..Request::get(path) }
    }

    pub fn method(mut self, method: &'static str) -> Request {
        self.method = method;
        self
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Request {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// The request line and the headers.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head.push_str("host: gateway\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method != "GET" || !self.body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    /// Sends the request over a connection of its own.
    #[track_caller]
    pub fn send(&self, to: SocketAddr) -> Reply {
        let mut connection = Connection::open(to);
        connection.exchange(self)
    }
}

#[track_caller]
pub fn get(to: SocketAddr, path: &str) -> Reply {
    Request::get(path).send(to)
}

impl Connection {
    #[track_caller]
    pub fn open(to: SocketAddr) -> Connection {
        let socket = TcpStream::connect_timeout(&to, PATIENCE).expect("the gateway accepts");
        socket.set_nodelay(true).expect("a socket option");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Connection { socket: BufReader::new(socket) }
    }

    pub fn socket(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }

    #[track_caller]
    pub fn exchange(&mut self, request: &Request) -> Reply {
        // A gateway that refuses early may close before it has read everything.
        let _ = self.write(&request.bytes());
        self.reply()
    }

    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// Reads one answer; an error where the connection ends first.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let bad = || io::Error::new(ErrorKind::InvalidData, format!("a status line: {line:?}"));
        let (version, rest) = line.split_once(' ').ok_or_else(bad)?;
        let status = rest.get(..3).and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, version: version.to_owned(), headers, body: Vec::new() };
        if status == 100 {
            return self.try_reply();
        }
        let length = reply.header("content-length").map(str::parse::<usize>);
        reply.body = match (reply.header("transfer-encoding"), length) {
            (Some("chunked"), _) => self.chunks()?,
            (_, Some(Ok(length))) => {
                let mut body = vec![0; length];
                self.socket.read_exact(&mut body)?;
                body
            }
            _ => {
                let mut body = Vec::new();
                self.socket.read_to_end(&mut body)?;
                body
            }
        };
        Ok(reply)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16)
                .map_err(|_| io::Error::new(ErrorKind::InvalidData, line))?;
            let mut chunk = vec![0; size + 2];
            self.socket.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Whether the gateway closes the connection, read to its end, within `patience`.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        self.socket().set_read_timeout(Some(patience)).expect("a socket option");
        let mut rest = [0; 4096];
        let closed = loop {
            match self.socket.read(&mut rest) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() == ErrorKind::ConnectionReset,
            }
        };
        self.socket().set_read_timeout(Some(PATIENCE)).expect("a socket option");
        closed
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.status, self.text()))
    }

    /// The message of a refusal, which is `{"error": "..."}` and nothing else.
    #[track_caller]
    pub fn error(&self) -> String {
        assert!(self.status >= 400, "{} is no refusal: {}", self.status, self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.status);
        match self.json() {
            Value::Object(fields) if fields.len() == 1 => match &fields["error"] {
                Value::String(message) if !message.is_empty() => message.clone(),
                other => panic!("error is {other}"),
            },
            other => panic!("{} has the body {other}", self.status),
        }
    }
}
