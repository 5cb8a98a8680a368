//! Patroni's REST API, played by a listener: what is tested is how answers of all kinds are read.

use std::time::Duration;

use pawang_postgres::{Error, patroni};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn ask(answer: &str) -> (Result<serde_json::Value, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://127.0.0.1:{}/",
        listener.local_addr().unwrap().port()
    );
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(stream);
        String::from_utf8_lossy(&request[..count]).into_owned()
    };
    tokio::join!(
        patroni::get(&url, "/cluster", Duration::from_secs(5)),
        serve
    )
}

#[tokio::test]
async fn answers_of_all_kinds() {
    let (document, request) =
        ask("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"members\": []}").await;
    assert_eq!(document.unwrap(), serde_json::json!({"members": []}));
    assert!(
        request.starts_with("GET /cluster HTTP/1.1\r\n"),
        "{request}"
    );
    let (document, _) = ask(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\n\r\n{\"state\": \"starting\"}",
    )
    .await;
    assert_eq!(document.unwrap()["state"], "starting");
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP status 404",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "no JSON",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",
            "reading a body",
        ),
        ("SSH-2.0-x\r\n", "invalid HTTP"),
        ("", "connection closed"),
    ] {
        let error = ask(answer).await.0.unwrap_err();
        assert!(matches!(error, Error::Http { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
    }
    let long = format!("HTTP/1.1 200 OK\r\n\r\n[{}]", "1,".repeat(3 << 20));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(long.as_bytes()).await;
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        result = patroni::get(&url, "cluster", Duration::from_secs(5)) => result.unwrap_err(),
        () = serve => unreachable!("it is pending"),
    };
    assert!(error.to_string().contains("length limit"), "{error}");
}

#[tokio::test]
async fn silence_and_absence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let error = patroni::get(&url, "/", Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("no answer within 0.1 s"),
        "{error}"
    );
    drop(listener);
    let error = patroni::get(&url, "/", Duration::from_secs(5))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    for url in [
        "",
        "db-1",
        "ftp://u:hunter2@x",
        "http://",
        "http://u:hunter2@ x/",
    ] {
        let error = patroni::get(url, "/", Duration::from_secs(5))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{url}: {error}");
        assert!(!error.report().to_string().contains("hunter2"));
    }
}
