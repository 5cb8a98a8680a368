//! Words of translated logs: severities, the names of secondary parts, and the operating system's reasons.

use crate::severity::Severity;

/// A part of a record that the stderr format writes with a word before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// DETAIL.
    Detail,
    /// HINT.
    Hint,
    /// QUERY.
    Query,
    /// CONTEXT.
    Context,
    /// LOCATION.
    Location,
    /// BACKTRACE.
    Backtrace,
    /// STATEMENT.
    Statement,
}

/// Severity words of the languages that PostgreSQL 15 ships, other than the English ones; a word that stands for two is listed at the
/// worse one.
pub const SEVERITIES: &[(Severity, &[&str])] = &[
    (
        Severity::Debug,
        &["გამართვა", "디버그", "ОТЛАДКА", "НАЛАГОДЖЕННЯ", "调试"],
    ),
    (
        Severity::Log,
        &[
            "ჟურნალი",
            "로그",
            "СООБЩЕНИЕ",
            "LOGG",
            "ЗАПИСУВАННЯ",
            "日志",
        ],
    ),
    (
        Severity::Info,
        &["ინფორმაცია", "정보", "ИНФОРМАЦИЯ", "ІНФОРМАЦІЯ", "信息"],
    ),
    (
        Severity::Notice,
        &[
            "HINWEIS",
            "NOTIFICA",
            "알림",
            "ЗАМЕЧАНИЕ",
            "NOTIS",
            "ПОВІДОМЛЕННЯ",
            "注意",
        ],
    ),
    (
        Severity::Warning,
        &[
            "WARNUNG",
            "ATTENTION",
            "ATTENZIONE",
            "გაფრთხილება",
            "경고",
            "ПРЕДУПРЕЖДЕНИЕ",
            "VARNING",
            "ПОПЕРЕДЖЕННЯ",
            "警告",
        ],
    ),
    (
        Severity::Error,
        &[
            "FEHLER",
            "ERREUR",
            "ERRORE",
            "შეცდომა",
            "오류",
            "ОШИБКА",
            "FEL",
            "ПОМИЛКА",
            "错误",
        ],
    ),
    (
        Severity::Fatal,
        &[
            "FATALE",
            "ფატალური",
            "치명적오류",
            "ВАЖНО",
            "FATALT",
            "ФАТАЛЬНО",
            "致命错误",
        ],
    ),
    (
        Severity::Panic,
        &[
            "PANIK",
            "PANICO",
            "პანიკა",
            "손상",
            "ПАНИКА",
            "ПАНІКА",
            "比致命错误还过分的错误",
        ],
    ),
];

/// Words before the parts of a record, without the colon.
pub const PARTS: &[(Part, &[&str])] = &[
    (
        Part::Detail,
        &[
            "DETALLE",
            "DÉTAIL",
            "DETTAGLI",
            "詳細",
            "დეტალები",
            "상세정보",
            "ПОДРОБНОСТИ",
            "DETALJ",
            "ВІДОМОСТІ",
            "详细信息",
        ],
    ),
    (
        Part::Hint,
        &[
            "TIPP",
            "ASTUCE",
            "SUGGERIMENTO",
            "ヒント",
            "მინიშნება",
            "힌트",
            "ПОДСКАЗКА",
            "TIPS",
            "УКАЗІВКА",
            "提示",
        ],
    ),
    (
        Part::Query,
        &[
            "ANFRAGE",
            "CONSULTA",
            "REQUÊTE",
            "問い合わせ",
            "მოთხოვნა",
            "쿼리",
            "ЗАПРОС",
            "FRÅGA",
            "ЗАПИТ",
            "查询",
        ],
    ),
    (
        Part::Context,
        &[
            "ZUSAMMENHANG",
            "CONTEXTO",
            "CONTEXTE",
            "CONTESTO",
            "文脈",
            "კონტექსტი",
            "내용",
            "КОНТЕКСТ",
            "KONTEXT",
            "上下文",
        ],
    ),
    (
        Part::Location,
        &[
            "ORT",
            "UBICACIÓN",
            "EMPLACEMENT",
            "POSIZIONE",
            "場所",
            "მდებარეობა",
            "위치",
            "ПОЛОЖЕНИЕ",
            "PLATS",
            "РОЗТАШУВАННЯ",
            "位置",
        ],
    ),
    (
        Part::Backtrace,
        &[
            "PILE D'APPEL",
            "バックトレース",
            "სტეკი",
            "역추적",
            "СТЕК",
            "ВІДСТЕЖУВАТИ",
        ],
    ),
    (
        Part::Statement,
        &[
            "ANWEISUNG",
            "SENTENCIA",
            "INSTRUCTION",
            "ISTRUZIONE",
            "文",
            "ოპერატორი",
            "명령 구문",
            "ОПЕРАТОР",
            "SATS",
            "ІНСТРУКЦІЯ",
            "语句",
        ],
    ),
];

/// What the prefix says for a name that is not known yet.
pub const UNKNOWN: &[&str] = &[
    "[unbekannt]",
    "[desconocido]",
    "[inconnu]",
    "[sconosciuto]",
    "[不明]",
    "[უცნობი]",
    "[알수없음]",
    "[н/д]",
    "[okänd]",
    "[未知]",
];

/// Reasons of the operating system, which the C library translates.
const REASONS: &[(&str, &[&str])] = &[
    (
        "No space left on device",
        &[
            "Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
            "No queda espacio en el dispositivo",
            "Aucun espace disponible sur le périphérique",
            "Spazio esaurito sul device",
            "デバイスに空き領域がありません",
            "장치에 남은 공간이 없음",
            "На устройстве не осталось свободного места",
            "Enheten är full",
            "Недостатньо місця на пристрої",
            "设备上没有空间",
        ],
    ),
    (
        "Disk quota exceeded",
        &[
            "Der zugewiesene Plattenplatz (Quota) ist überschritten",
            "Se ha excedido la cuota de disco",
            "Débordement du quota d'espace disque",
            "Quota disco superata",
            "ディスク使用量制限を超過しました",
            "디스크 할당량이 초과됨",
            "Превышена дисковая квота",
            "Diskkvot överskriden",
            "Перевищено квоту диска",
            "超出磁盘限额",
        ],
    ),
    (
        "No such file or directory",
        &[
            "Datei oder Verzeichnis nicht gefunden",
            "No existe el fichero o el directorio",
            "Aucun fichier ou dossier de ce type",
            "File o directory non esistente",
            "そのようなファイルやディレクトリはありません",
            "그런 파일이나 디렉터리가 없습니다",
            "Нет такого файла или каталога",
            "Filen eller katalogen finns inte",
            "Немає такого файла або каталогу",
            "没有那个文件或目录",
        ],
    ),
    (
        "Permission denied",
        &[
            "Keine Berechtigung",
            "Permiso denegado",
            "Permission non accordée",
            "Permesso negato",
            "許可がありません",
            "허가 거부",
            "Отказано в доступе",
            "Åtkomst nekas",
            "Відмовлено у доступі",
            "权限不够",
        ],
    ),
    (
        "Operation not permitted",
        &[
            "Die Operation ist nicht erlaubt",
            "Operación no permitida",
            "Opération non permise",
            "Operazione non permessa",
            "許可されていない操作です",
            "명령을 허용하지 않음",
            "Операция не позволена",
            "Operationen inte tillåten",
            "Дію заборонено",
            "不允许的操作",
        ],
    ),
    (
        "Input/output error",
        &[
            "Eingabe-/Ausgabefehler",
            "Error de entrada/salida",
            "Erreur d'entrée/sortie",
            "Errore di input/output",
            "入力/出力エラーです",
            "입력/출력 오류",
            "Ошибка ввода/вывода",
            "In/ut-fel",
            "Помилка введення-виведення",
            "输入/输出错误",
        ],
    ),
    (
        "Read-only file system",
        &[
            "Das Dateisystem ist nur lesbar",
            "Sistema de ficheros de sólo lectura",
            "Système de fichiers accessible en lecture seulement",
            "File system in sola lettura",
            "読み込み専用ファイルシステムです",
            "읽기전용 파일 시스템",
            "Файловая система доступна только для чтения",
            "Skrivskyddat filsystem",
            "Файлова система тільки для зчитування",
            "只读文件系统",
        ],
    ),
    (
        "Too many open files",
        &[
            "Zu viele offene Dateien",
            "Demasiados ficheros abiertos",
            "Trop de fichiers ouverts",
            "Troppi file aperti",
            "ファイルを開きすぎです",
            "열린 파일이 너무 많음",
            "Слишком много открытых файлов",
            "För många öppna filer",
            "Забагато відкритих файлів",
            "打开的文件过多",
        ],
    ),
    (
        "Too many open files in system",
        &[
            "Zu viele offene Dateien im System",
            "Demasiados ficheros abiertos en el sistema",
            "Trop de fichiers ouverts dans le système",
            "Troppi file aperti nel sistema",
            "システム中のファイルを開きすぎです",
            "시스템에 파일을 너무 많이 열었음",
            "Слишком много открытых файлов в системе",
            "För många öppna filer i systemet",
            "У системі забагато відкритих файлів",
            "系统中打开的文件过多",
        ],
    ),
    (
        "Connection reset by peer",
        &[
            "Die Verbindung wurde vom Kommunikationspartner zurückgesetzt",
            "Conexión reinicializada por la máquina remota",
            "Connexion ré-initialisée par le correspondant",
            "Connessione interrotta dal corrispondente",
            "接続が相手からリセットされました",
            "상대편이 연결을 끊음",
            "Соединение разорвано другой стороной",
            "Förbindelse borttagen av partnern",
            "Вузол розірвав з’єднання",
            "连接被对方重设",
        ],
    ),
    (
        "Broken pipe",
        &[
            "Datenübergabe unterbrochen (broken pipe)",
            "Tubería rota",
            "Relais brisé (pipe)",
            "Pipe interrotta",
            "파이프가 깨어짐",
            "Обрыв канала",
            "Brutet rör",
            "Канал обірвано",
            "断开的管道",
        ],
    ),
    (
        "Connection refused",
        &[
            "Verbindungsaufbau abgelehnt",
            "Conexión rehusada",
            "Connexion refusée",
            "Connessione rifiutata",
            "接続を拒否されました",
            "연결이 거부됨",
            "В соединении отказано",
            "Förbindelsen förvägrad",
            "У з'єднанні відмовлено",
            "拒绝连接",
        ],
    ),
    (
        "Connection timed out",
        &[
            "Die Wartezeit für die Verbindung ist abgelaufen",
            "Expiró el tiempo de conexión",
            "Connexion terminée par expiration du délai d'attente",
            "Connessione scaduta",
            "接続がタイムアウトしました",
            "연결 시간 초과",
            "Время ожидания соединения истекло",
            "Förbindelsens tidsgräns löpte ut",
            "Перевищено інтервал очікування з'єднання",
            "连接超时",
        ],
    ),
    (
        "Address already in use",
        &[
            "Die Adresse wird bereits verwendet",
            "La dirección ya se está usando",
            "Adresse déjà utilisée",
            "Indirizzo già in uso",
            "アドレスは既に使用中です",
            "주소가 이미 사용 중입니다",
            "Адрес уже используется",
            "Adressen redan upptagen",
            "Адресу вже використано",
            "地址已在使用",
        ],
    ),
    (
        "Cannot allocate memory",
        &[
            "Nicht genügend Hauptspeicher verfügbar",
            "No se pudo asignar memoria",
            "Ne peut allouer de la mémoire",
            "Impossibile allocare memoria",
            "メモリを確保できません",
            "메모리를 할당할 수 없습니다",
            "Невозможно выделить память",
            "Kan inte allokera minne",
            "Не вдалося розподілити пам’ять",
            "无法分配内存",
        ],
    ),
    (
        "Resource temporarily unavailable",
        &[
            "Die Ressource ist zur Zeit nicht verfügbar",
            "Recurso no disponible temporalmente",
            "Ressource temporairement non disponible",
            "Risorsa temporaneamente non disponibile",
            "リソースが一時的に利用できません",
            "자원이 일시적으로 사용 불가능함",
            "Ресурс временно недоступен",
            "Resursen tillfälligt otillgänglig",
            "Ресурс тимчасово недоступний",
            "资源暂时不可用",
        ],
    ),
];

/// Returns the severity of a word of a log in any language.
pub fn severity(word: &[u8]) -> Option<Severity> {
    Severity::of(word).or_else(|| {
        // The number of DEBUG1 to DEBUG5 stays a digit.
        let digits = word
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let word = &word[..word.len() - digits];
        let found = SEVERITIES
            .iter()
            .find(|(_, words)| words.iter().any(|known| known.as_bytes() == word));
        found.map(|(severity, _)| *severity)
    })
}

/// Returns the part that a word of a log in any language begins.
pub fn part(word: &[u8]) -> Option<Part> {
    let english = match word {
        b"DETAIL" => Some(Part::Detail),
        b"HINT" => Some(Part::Hint),
        b"QUERY" => Some(Part::Query),
        b"CONTEXT" => Some(Part::Context),
        b"LOCATION" => Some(Part::Location),
        b"BACKTRACE" => Some(Part::Backtrace),
        b"STATEMENT" => Some(Part::Statement),
        _ => None,
    };
    english.or_else(|| {
        let found = PARTS
            .iter()
            .find(|(_, words)| words.iter().any(|known| known.as_bytes() == word));
        found.map(|(part, _)| *part)
    })
}

/// Returns the English text of a reason of the operating system.
pub(super) fn reason(text: &[u8]) -> Option<&'static [u8]> {
    let found = REASONS
        .iter()
        .find(|(_, words)| words.iter().any(|known| known.as_bytes() == text));
    found.map(|(english, _)| english.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_languages_are_known() {
        assert_eq!(severity(b"LOG"), Some(Severity::Log));
        assert_eq!(severity("ERREUR".as_bytes()), Some(Severity::Error));
        assert_eq!(severity("FEHLER".as_bytes()), Some(Severity::Error));
        assert_eq!(severity("ОШИБКА".as_bytes()), Some(Severity::Error));
        assert_eq!(severity("ОТЛАДКА1".as_bytes()), Some(Severity::Debug));
        assert_eq!(severity(b"nonsense"), None);
        assert_eq!(part(b"INSTRUCTION"), Some(Part::Statement));
    }
}
