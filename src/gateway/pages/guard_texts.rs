//! What the status page says, side by side in each language: a text that is missing in one does not compile. The names of states are
//! those of `/health` in every language.

use super::language::Language;

/// Name in the page and its script, then English, Chinese, Japanese, Korean. What stands in braces is filled in by the script.
pub(super) const TEXTS: &[(&str, [&str; 4])] = &[
    ("title", ["Status of ComfyUI", "ComfyUI 状态", "ComfyUI の状態", "ComfyUI 상태"]),
    ("open_comfyui", ["Open ComfyUI", "打开 ComfyUI", "ComfyUI を開く", "ComfyUI 열기"]),
    ("state", ["State", "状态", "状態", "상태"]),
    ("asking", ["Asking…", "正在查询…", "確認しています…", "확인하는 중…"]),
    (
        "served",
        ["Guests are served.", "正在正常提供服务。", "サービスを提供しています。", "서비스를 제공하고 있습니다."],
    ),
    (
        "closed",
        [
            "Guests are not served.",
            "目前不提供服务。",
            "サービスを提供していません。",
            "서비스를 제공하지 않고 있습니다.",
        ],
    ),
    (
        "no_answer",
        [
            "No answer since {time}.",
            "自 {time} 起没有响应。",
            "{time} から応答がありません。",
            "{time}부터 응답이 없습니다.",
        ],
    ),
    ("since", ["since {time}", "自 {time}", "{time} から", "{time}부터"]),
    ("cause", ["Cause", "原因", "原因", "원인"]),
    ("cure", ["What to do", "处理方法", "対処", "조치"]),
    ("serves", ["guests are served all the same", "不影响服务", "サービスは続いています", "서비스는 계속됩니다"]),
    ("queue", ["Queue", "队列", "キュー", "대기열"]),
    ("running", ["Running", "运行中", "実行中", "실행 중"]),
    ("pending", ["Waiting", "等待中", "待機中", "대기 중"]),
    ("jobs_done", ["Done", "已完成", "完了", "완료"]),
    ("jobs_failed", ["Failed", "已失败", "失敗", "실패"]),
    ("progress", ["Progress of the running step", "当前步骤进度", "実行中のステップの進捗", "실행 중인 단계의 진행률"]),
    (
        "queue_length",
        ["Jobs running or waiting", "运行或等待的任务", "実行中・待機中のジョブ", "실행 또는 대기 중인 작업"],
    ),
    ("process", ["Process", "进程", "プロセス", "프로세스"]),
    ("pid", ["Process ID", "进程号", "プロセス ID", "프로세스 ID"]),
    ("version", ["Version", "版本", "バージョン", "버전"]),
    ("device", ["Device", "设备", "デバイス", "장치"]),
    ("uptime", ["Serving for", "已服务", "稼働時間", "가동 시간"]),
    ("restarts", ["Restarts", "重启次数", "再起動の回数", "재시작 횟수"]),
    ("crashes", ["Crashes", "崩溃次数", "異常終了の回数", "비정상 종료 횟수"]),
    ("last_exit", ["Ended last", "上次结束", "前回の終了", "마지막 종료"]),
    ("memory", ["Memory", "内存", "メモリ", "메모리"]),
    ("processor", ["Processor", "处理器", "プロセッサ", "프로세서"]),
    ("tasks", ["Processes and threads", "进程与线程", "プロセスとスレッド", "프로세스와 스레드"]),
    ("disk_read", ["Read from disks", "磁盘读取", "ディスク読み取り", "디스크 읽기"]),
    ("disk_written", ["Written to disks", "磁盘写入", "ディスク書き込み", "디스크 쓰기"]),
    ("of", ["{used} of {total}", "{used} / {total}", "{used} / {total}", "{used} / {total}"]),
    ("restart", ["Restart ComfyUI", "重启 ComfyUI", "ComfyUI を再起動", "ComfyUI 다시 시작"]),
    (
        "restart_question",
        ["Restart ComfyUI?", "要重启 ComfyUI 吗？", "ComfyUI を再起動しますか？", "ComfyUI를 다시 시작할까요?"],
    ),
    (
        "restart_lead",
        [
            "ComfyUI is stopped and started again. Nobody is signed out.",
            "ComfyUI 将停止并重新启动。不会退出任何登录。",
            "ComfyUI を停止して起動し直します。サインインは保たれます。",
            "ComfyUI를 중지했다가 다시 시작합니다. 로그인은 유지됩니다.",
        ],
    ),
    (
        "restart_jobs",
        [
            "Jobs that run or wait are lost: {count}.",
            "运行或等待的任务将丢失：{count} 个。",
            "実行中・待機中のジョブは失われます：{count} 件。",
            "실행 또는 대기 중인 작업이 사라집니다: {count}개.",
        ],
    ),
    (
        "restart_no_jobs",
        [
            "No job runs or waits.",
            "没有运行或等待的任务。",
            "実行中・待機中のジョブはありません。",
            "실행 또는 대기 중인 작업이 없습니다.",
        ],
    ),
    ("restarting", ["The restart is under way.", "正在重启。", "再起動しています。", "다시 시작하고 있습니다."]),
    (
        "too_soon",
        [
            "ComfyUI was restarted a moment ago. Try again in {seconds} s.",
            "ComfyUI 刚刚重启过，请在 {seconds} 秒后重试。",
            "ComfyUI は再起動したばかりです。{seconds} 秒後にもう一度お試しください。",
            "ComfyUI가 방금 다시 시작되었습니다. {seconds}초 후에 다시 시도하세요.",
        ],
    ),
    (
        "refused",
        [
            "The guard refused this (status {status}).",
            "守护程序拒绝了此操作（状态码 {status}）。",
            "ガードに拒否されました（ステータス {status}）。",
            "가드가 거부했습니다(상태 {status}).",
        ],
    ),
    (
        "offline",
        [
            "The server cannot be reached. Check the connection and try again.",
            "无法连接到服务器，请检查网络后重试。",
            "サーバーに接続できません。接続を確認して、もう一度お試しください。",
            "서버에 연결할 수 없습니다. 연결을 확인하고 다시 시도하세요.",
        ],
    ),
    ("cancel", ["Cancel", "取消", "キャンセル", "취소"]),
    (
        "driver",
        [
            "Driver {driver}, CUDA {cuda}",
            "驱动 {driver}，CUDA {cuda}",
            "ドライバー {driver}、CUDA {cuda}",
            "드라이버 {driver}, CUDA {cuda}",
        ],
    ),
    ("no_gpu", ["No GPU is read", "未读取到 GPU", "GPU を読み取れません", "GPU를 읽지 못했습니다"]),
    (
        "lost",
        [
            "This GPU fell off the bus.",
            "此 GPU 已从总线上丢失。",
            "この GPU はバスから外れました。",
            "이 GPU가 버스에서 떨어졌습니다.",
        ],
    ),
    ("gpu_memory", ["GPU memory", "显存", "GPU メモリ", "GPU 메모리"]),
    ("utilisation", ["Utilisation", "利用率", "使用率", "사용률"]),
    ("temperature", ["Temperature", "温度", "温度", "온도"]),
    ("power", ["Power", "功率", "電力", "전력"]),
    (
        "plot",
        [
            "{name} over the last hour: now {now}, lowest {low}, highest {high}",
            "{name}，最近一小时：当前 {now}，最低 {low}，最高 {high}",
            "{name}（過去 1 時間）：現在 {now}、最低 {low}、最高 {high}",
            "{name}, 최근 한 시간: 현재 {now}, 최저 {low}, 최고 {high}",
        ],
    ),
    ("no_data", ["no data yet", "暂无数据", "データはまだありません", "아직 데이터가 없습니다"]),
    ("now", ["now", "现在", "現在", "지금"]),
    ("lines", ["Last lines of ComfyUI", "ComfyUI 最近的输出", "ComfyUI の最近の出力", "ComfyUI의 최근 출력"]),
    ("no_lines", ["Nothing yet.", "暂无输出。", "まだありません。", "아직 없습니다."]),
    ("guard", ["Guard", "守护程序", "ガード", "가드"]),
    ("started", ["Started", "启动时间", "起動", "시작"]),
    ("addresses", ["Addresses", "地址", "アドレス", "주소"]),
    ("fingerprint", ["SHA-256 of the certificate", "证书的 SHA-256", "証明書の SHA-256", "인증서의 SHA-256"]),
    ("certificate_ends", ["Certificate ends", "证书到期", "証明書の期限", "인증서 만료"]),
    ("authentication", ["A key is needed", "需要密钥", "キーが必要", "키 필요"]),
    ("yes", ["yes", "是", "はい", "예"]),
    ("no", ["no", "否", "いいえ", "아니요"]),
    ("key_set", ["Key set", "密钥设置于", "キーの設定", "키 설정"]),
    ("sessions", ["Browsers signed in", "已登录的浏览器", "サインイン中のブラウザー", "로그인한 브라우저"]),
    ("connections", ["Connections", "连接", "接続", "연결"]),
    ("websockets", ["WebSockets", "WebSocket", "WebSocket", "WebSocket"]),
    ("gateway_restarts", ["Restarts of the gateway", "网关重启次数", "ゲートウェイの再起動", "게이트웨이 재시작"]),
    ("sensor_restarts", ["Restarts of the sensor", "传感器重启次数", "センサーの再起動", "센서 재시작"]),
    ("sandbox", ["Sandboxes", "沙箱", "サンドボックス", "샌드박스"]),
    ("refusals", ["Recent refusals", "最近的拒绝", "最近の拒否", "최근 거부"]),
    ("time", ["Time", "时间", "時刻", "시각"]),
    ("address", ["Address", "地址", "アドレス", "주소"]),
    ("error", ["Error", "错误", "エラー", "오류"]),
    ("count", ["Count", "次数", "回数", "횟수"]),
    ("none", ["None.", "无。", "ありません。", "없음."]),
    ("sign_out", ["Sign out", "退出登录", "サインアウト", "로그아웃"]),
    ("sign_out_everywhere", ["Sign out everywhere", "退出所有登录", "すべてサインアウト", "모두 로그아웃"]),
    (
        "everywhere_question",
        ["Sign everybody out?", "要退出所有登录吗？", "すべてサインアウトしますか？", "모두 로그아웃할까요?"],
    ),
    (
        "everywhere_lead",
        [
            "Every session ends, this one too. Whoever has the key can sign in again.",
            "所有会话都将结束，包括当前会话。持有密钥的人可以重新登录。",
            "このブラウザーを含むすべてのセッションが終了します。キーがあれば再びサインインできます。",
            "이 브라우저를 포함한 모든 세션이 종료됩니다. 키가 있으면 다시 로그인할 수 있습니다.",
        ],
    ),
    (
        "needs_script",
        [
            "This page needs JavaScript.",
            "此页面需要 JavaScript。",
            "このページには JavaScript が必要です。",
            "이 페이지에는 JavaScript가 필요합니다.",
        ],
    ),
];

/// The texts of a language, by name.
pub(super) fn texts(language: Language) -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXTS.iter().map(move |(name, [english, chinese, japanese, korean])| {
        let text = match language {
            Language::English => english,
            Language::Chinese => chinese,
            Language::Japanese => japanese,
            Language::Korean => korean,
        };
        (*name, *text)
    })
}

/// One text of a language.
pub(super) fn text(language: Language, name: &str) -> &'static str {
    texts(language).find(|(known, _)| *known == name).map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_has_its_place_in_every_language() {
        let places = |text: &str| {
            let mut names: Vec<String> = text
                .split('{')
                .skip(1)
                .filter_map(|part| part.split_once('}'))
                .map(|(name, _)| name.to_owned())
                .collect();
            names.sort();
            names
        };
        for (name, [english, others @ ..]) in TEXTS {
            for other in others {
                assert_eq!(places(other), places(english), "{name}");
                assert!(!other.is_empty());
            }
        }
    }

    #[test]
    fn each_name_stands_once() {
        let names: std::collections::BTreeSet<_> = TEXTS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), TEXTS.len());
    }
}
