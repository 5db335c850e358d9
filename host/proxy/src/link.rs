//! The line to the supervisor. It comes back for ever; what was said on a line that broke is
//! said again by control, not remembered here.

use std::path::PathBuf;
use std::time::Duration;

use grace_model::ipc::{Answer, Request};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::control::News;

/// Time between two attempts to reach the supervisor.
const AGAIN: Duration = Duration::from_millis(20);
/// Words waiting for the supervisor: one for each of the 256 instances a service may have,
/// several times over. What does not fit is said again with the next tick.
const WORDS: usize = 1_024;

/// Keeps a line to the supervisor up.
pub(crate) async fn keep(socket: PathBuf, news: mpsc::Sender<News>) {
    let mut quiet = false;
    loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => {
                quiet = false;
                let end = talk(stream, &news).await;
                tracing::info!(cause = %end, "lost the supervisor; going on with the last table");
                if news.send(News::Unlinked).await.is_err() {
                    return;
                }
            }
            Err(error) if !quiet => {
                quiet = true;
                tracing::info!(socket = %socket.display(), %error, "waiting for the supervisor");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn talk(stream: UnixStream, news: &mpsc::Sender<News>) -> String {
    let (read, mut write) = stream.into_split();
    let (say, mut words) = mpsc::channel::<Request>(WORDS);
    let _ = say.try_send(Request::Subscribe);
    if news.send(News::Linked(say)).await.is_err() {
        return "the proxy is ending".to_owned();
    }
    let writing = async move {
        while let Some(word) = words.recv().await {
            let Ok(mut line) = serde_json::to_vec(&word) else {
                continue;
            };
            line.push(b'\n');
            if let Err(error) = write.write_all(&line).await {
                return error.to_string();
            }
        }
        "nothing more to say".to_owned()
    };
    let reading = async move {
        let mut lines = BufReader::new(read).lines();
        loop {
            match lines.next_line().await {
                Ok(Some(line)) => match serde_json::from_str::<Answer>(&line) {
                    Ok(answer) => {
                        if news.send(News::Said(Box::new(answer))).await.is_err() {
                            return "the proxy is ending".to_owned();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a line of the supervisor was not understood");
                    }
                },
                Ok(None) => return "it closed the connection".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    };
    tokio::select! { end = writing => end, end = reading => end }
}
