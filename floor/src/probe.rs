//! One blocking HTTP/1.1 connection for single questions, without a runtime
//! whose scheduling would be measured along.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Answers here are a few hundred bytes.
const MAX_BODY: u64 = 16 << 20;

#[derive(Debug)]
pub struct Probe {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Probe {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.read()
    }

    pub fn post(&mut self, path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Answer> {
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        self.read()
    }

    /// Reads an answer with a length; answers to be measured have one.
    fn read(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer = Answer {
            status: status.ok_or("not an HTTP answer")?,
            content_type: String::new(),
            body: Vec::new(),
        };
        let mut length = None;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse()?),
                "content-type" => answer.content_type = value.trim().to_owned(),
                _ => {}
            }
        }
        let length: u64 = length.ok_or("the answer has no content-length")?;
        (&mut self.stream).take(length.min(MAX_BODY)).read_to_end(&mut answer.body)?;
        if answer.body.len() as u64 != length {
            return Err("the answer ends early or is too long".into());
        }
        Ok(answer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if (&mut self.stream).take(64 << 10).read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(line)
    }
}
