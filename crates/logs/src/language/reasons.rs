//! Reasons of the operating system as the C library translates them, which stand at the end of many messages.

/// The English text and its translations.
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
    fn reasons_are_english_again() {
        assert_eq!(
            reason("设备上没有空间".as_bytes()),
            Some(b"No space left on device".as_slice())
        );
        assert_eq!(reason(b"No space"), None);
    }
}
