"""Encodings of samples in many languages: recognized, or not clear, and never wrong."""

# ruff: noqa: RUF001, E501 - letters of other scripts; long lists of words.
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lume_async.errors import ConfigurationError
from lume_local._samples.encodings import encoding_of, recognized
from lume_local._samples.raw import RawFile

WORDS = {
    "cp1252 iso8859-15 mac_roman cp850": {
        "de": "Müller Schröder Jäger Köhler Groß Hauptstraße Mühlweg München Köln Düsseldorf Nürnberg Lübeck Größe Käse "
        "Brötchen Öl Äpfel Gemüse Möbel Kühlschrank Schlüssel Gerät Zubehör für Überweisung Günther",
        "fr": "François Hélène Léa René Chloé Gaëlle Benoît Lefèvre Évreux Besançon Orléans Nîmes Béziers Étude Café Crème "
        "Pâté Fenêtre Modèle Côté Château Prénom Référence Quantité Livré Garçon Hôtel Forêt",
        "es": "José María Peña Muñoz Núñez Ibáñez García López Sánchez Pérez Martín Álvarez Córdoba Cádiz Málaga Logroño "
        "Español Año Teléfono Dirección Descripción Código Razón Jamón Azúcar Piñón",
        "pt": "João José São Conceição Gonçalves Araújo Simões Guimarães Brasília Goiânia Descrição Preço Município Código "
        "Produção Endereço Ação Pão Maçã Feijão Limão Açúcar Câmara Três Ônibus",
        "da": "Søren Jørgen Bjørn Åse Kjær Nørgaard Sørensen Ærø Århus Køge Næstved Helsingør Rødgrød Smør Brød Kød Pølse "
        "Værelse Størrelse Mærke Højde Længde Gård Færdig Rødvin Kærlighed",
        "sv": "Åsa Björn Göran Märta Sjöberg Åkesson Öberg Lindström Västerås Örebro Malmö Göteborg Linköping Umeå Växjö "
        "Smör Bröd Mjölk Kött Färg Höjd Längd Höst Vår Håkan Jörgen Pär",
    },
    "cp1252 mac_roman": {
        "en": "don’t O’Brien McDonald’s Café résumé naïve Beyoncé Zoë Children’s women’s Pokémon jalapeño it’s Macy’s I’m "
        "you’re Men’s Montréal Québec façade Brontë Renée Chloë",
    },
    "cp1250 iso8859-2 cp852": {
        "pl": "Łukasz Małgorzata Wójcik Woźniak Wiśniewska Zieliński Jabłoński Łódź Kraków Gdańsk Wrocław Poznań Rzeszów "
        "Częstochowa Ilość Wartość Żółty Źródło Śledź Mąka Masło Śmietana Jabłko Gęś Środa Piątek",
        "cs": "Jiří Tomáš Lukáš Ondřej Zdeněk Dvořák Novák Černý Procházka Kučera Veselý Horák Němec Plzeň České Králové Ústí "
        "Množství Název Zboží Sýr Máslo Mléko Žlutý Červený Příjmení Křestní Náměstí",
        "hu": "Kovács Szabó Tóth Horváth Németh Molnár László Zoltán István György Győr Kecskemét Székesfehérvár Nyíregyháza "
        "Összeg Mennyiség Fűszer Tőke Sütemény Kenyér Túró Főút Rákóczi Petőfi Hűtő",
        "hr": "Željko Šime Ćiro Đuro Kovačević Babić Marić Jurić Novaković Šarić Šibenik Čakovec Požega Količina Višnja Kruška "
        "Šećer Čokolada Žuto Smeđe Đakovo Međimurje Općina Račun Plaćeno",
    },
    "cp1251 koi8-r iso8859-5 cp866": {
        "ru": "Иван Сергей Наталья Иванов Петрова Смирнов Кузнецов Москва Казань Новосибирск улица проспект Количество Цена "
        "Наименование Молоко Хлеб Сахар Яблоки Картофель Адрес Телефон Дата Сумма Итого Склад",
    },
    "cp1253 iso8859-7": {
        "el": "Γιώργος Μαρία Παπαδόπουλος Αθήνα Θεσσαλονίκη Πάτρα Ηράκλειο Λάρισα οδός Ποσότητα Τιμή Όνομα Γάλα Ψωμί Ζάχαρη "
        "Μήλα Διεύθυνση Τηλέφωνο Ημερομηνία Σύνολο Πόλη Ελλάδα Ωραία Έλενα",
    },
    "cp1254": {
        "tr": "Ayşe Ömer Çağlar Gökçe Yılmaz Şahin Öztürk Kılıç Doğan Çetin İstanbul İzmir Eskişehir Muğla Aydın Ürün Sipariş "
        "Müşteri Tutarı Miktarı Süt Şeker Yoğurt Kırmızı Yeşil Büyük Küçük Işık Ağaç",
    },
    "cp1257": {
        "lt": "Rūta Žydrūnas Šarūnas Kęstutis Šiauliai Panevėžys Klaipėda Mažeikiai Kiekis Sūris Gatvė Žalia Mėlyna Čekis Įmonė "
        "Ąžuolas Ūkis Jonaitytė Žirmūnai Viešoji Lėšos Ryšys Būtas Gėlė Medžiaga",
    },
    "cp932 euc_jp": {
        "ja": "佐藤 鈴木 高橋 田中 渡辺 伊藤 山本 中村 東京都 大阪府 横浜市 名古屋市 札幌市 福岡県 株式会社 有限会社 商品名 数量 価格 牛乳 "
        "食パン りんご みかん カメラ プリンター ノートパソコン 住所 電話番号 ソニー 表示 能登 十勝",
    },
    "gb18030 gbk": {
        "zh": "王伟 李娜 张敏 刘洋 陈静 杨帆 北京市 上海市 广州市 深圳市 成都市 杭州市 有限公司 商品名称 数量 价格 牛奶 面包 苹果 电脑 打印机 "
        "地址 电话 日期 城市 合计 客户",
    },
    "big5": {
        "zh-tw": "陳美玲 林志明 黃淑芬 張家豪 李雅婷 台北市 高雄市 台中市 新竹市 有限公司 商品名稱 數量 價格 牛奶 麵包 蘋果 電腦 印表機 地址 "
        "電話 日期 城市 合計 客戶 許功蓋",
    },
    "euc_kr cp949": {
        "ko": "김철수 이영희 박지훈 최수진 정민호 서울특별시 부산광역시 대구 인천 광주 주식회사 상품명 수량 가격 우유 빵 사과 컴퓨터 프린터 "
        "주소 전화번호 날짜 도시 합계 고객",
    },
    "cp1255": {"he": "דוד משה שרה רחל כהן לוי ירושלים חיפה תל אביב באר שבע רחוב כמות מחיר שם חלב לחם סוכר תפוחים כתובת"},
}  # fmt: skip
SAMPLES = [
    (language, encoding, words.split())
    for encodings, languages in WORDS.items()
    for language, words in languages.items()
    for encoding in encodings.split()
]
UNITS = ["20 °C", "½ cup", "5 µm", "10 m²", "£12", "3 m³", "±5", "90°", "12 €", "§ 5"]


def outcomes(encoding: str, words: list[str], count: int, seeds: int) -> Counter[str]:
    """What becomes of so many of the words, beside words in ASCII, for several choices."""
    found = Counter[str]()
    for seed in range(seeds):
        chance = random.Random(seed)
        texts = chance.sample(words, count)
        texts = [f"{one} Ltd" if chance.random() < 0.2 else one for one in texts]
        try:
            reading = recognized([one.encode(encoding) for one in texts if not one.isascii()], "a.csv")
        except ConfigurationError as error:
            found["not clear" if "set its encoding" in str(error) else str(error)] += 1
        else:
            found["right" if reading.values == [one for one in texts if not one.isascii()] else "wrong"] += 1
    return found


@pytest.mark.parametrize(
    ("language", "encoding", "words"), SAMPLES, ids=[f"{one[0]}-{one[1]}" for one in SAMPLES]
)
def test_many_words_are_recognized_and_few_never_wrong(
    language: str, encoding: str, words: list[str]
) -> None:
    usable = [one for one in words if not one.isascii()]
    for count in (1, 2, 4, 8):
        assert outcomes(encoding, usable, count, 3)["wrong"] == 0, count
    many = outcomes(encoding, usable, 20, 3)
    assert many["wrong"] == 0
    assert many["right"] >= 2, many


@pytest.mark.parametrize("encoding", ["cp1251", "koi8-r", "cp866", "iso8859-5", "mac-cyrillic"])
@pytest.mark.parametrize("write", [str.upper, str.lower])
def test_words_in_one_case_are_never_wrong(encoding: str, write: Callable[[str], str]) -> None:
    """Capitals of one encoding are small letters of another."""
    names = (
        "Петрова Иванов Сергей Москва область улица дом книга тетрадь хлеб молоко Смирнов Андрей Ольга Казань"
    )
    words = [write(one) for one in names.split()]
    for count in (1, 2, 4, 8):
        assert outcomes(encoding, words, count, 3)["wrong"] == 0, count
    assert outcomes(encoding, words, len(words), 2)["right"] == 2


@pytest.mark.parametrize("encoding", ["cp1252", "cp850"])
def test_units_and_signs_are_never_wrong(encoding: str) -> None:
    fit = [one for one in UNITS if "€" not in one or encoding == "cp1252"]
    for count in (1, 2, 4, 8):
        assert outcomes(encoding, fit, count, 4)["wrong"] == 0, count
    if encoding == "cp1252":
        assert recognized([one.encode(encoding) for one in fit], "a.csv").values == fit
        for one in ("12 €", "Acme® Index", "5–10"):
            assert recognized([one.encode(encoding)], "a.csv").values == [one]


def read(path: Path, content: bytes) -> tuple[str, list[str]]:
    path.write_bytes(content)
    return encoding_of(RawFile(path, "a.csv", path))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["id,name\n1,Jörg\n", "名前,住所\n佐藤,東京都\n", "Ā,Ē\nJānis,Bērziņš\n", "имя\nИван\n"]
)
def test_utf16_without_a_mark(tmp_path: Path, encoding: str, text: str) -> None:
    found, doubts = read(tmp_path / "a.csv", text.encode(encoding))
    assert found == encoding
    assert "no byte order mark" in doubts[0]


def test_a_file_is_judged_by_its_values_beyond_ascii(tmp_path: Path) -> None:
    rows = [b"%d;Smith;London;12.50" % n for n in range(50_000)]
    names = WORDS["cp1250 iso8859-2 cp852"]["pl"].split()
    for n, name in enumerate(names):
        rows[n * 1000 + 7] = f"{n};{name};Kraków;1.00".encode("cp852")
    encoding, doubts = read(tmp_path / "a.csv", b"\r\n".join(rows))
    assert encoding == "cp852"
    assert "Łukasz" in doubts[0]


def test_other_encodings_with_the_same_reading_are_named(tmp_path: Path) -> None:
    encoding, doubts = read(tmp_path / "a.csv", "name\nMüller\nSchröder\n".encode("cp1252"))
    assert encoding == "cp1252"
    assert (
        "would read the sample alike), where a value is 'Müller': if that looks wrong, set its encoding"
        in doubts[0]
    )


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"a\.csv is a binary file, not CSV, .*: export its table as CSV"
    ):
        read(tmp_path / "a.csv", bytes(range(256)) * 20)


def test_many_long_values_take_bounded_work(tmp_path: Path) -> None:
    line = ("Grüße an " + "Äpfel und Birnen " * 2000).encode("cp1252")
    assert read(tmp_path / "a.csv", b"note\n" + line * 20 + b"\n")[0] == "cp1252"
