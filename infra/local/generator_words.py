"""The words that generated mail is made of: people, places, subjects and sentences in many scripts."""

from __future__ import annotations

PEOPLE: tuple[tuple[str, str], ...] = (
    ("Ann Baker", "ann.baker@harbour.example"),
    ("Bob O'Neil", "bob@oneil.example"),
    ("Doe, Jane", "jane.doe@lattice.example"),
    ('Tom "Tiger" Reed', "tom.reed@lattice.example"),
    ("Jürgen Groß", "j.gross@werkstatt.example"),
    ("Müller, Änne", "aenne.mueller@werkstatt.example"),
    ("Zoë Lefèvre", "zoe@lefevre.example"),
    ("Łukasz Żak", "lukasz.zak@poczta.example"),
    ("Ольга Смирнова", "olga@pochta.example"),
    ("Γιώργος Παππάς", "g.pappas@tachydromio.example"),
    ("山田 太郎", "taro.yamada@yubin.example"),
    ("佐藤 さくら", "sakura@yubin.example"),
    ("李小龍", "li.xl@youjian.example"),
    ("김민준", "minjun.kim@pyeonji.example"),
    ("נועה לוי", "noa.levi@doar.example"),
    ("محمد علي", "m.ali@bareed.example"),
    ("प्रिया शर्मा", "priya@daak.example"),
    ("🌻 Garden Club", "club@garden.example"),
    ("", "nameless@plain.example"),
    ("accounts (EMEA)", "accounts@lattice.example"),
    ("Dr. A. B. Carter", "a.b.carter+clinic@health.example"),
    ("Søren Kierkegård", "soren@brev.example"),
    ("Nguyễn Thị Hoa", "hoa.nguyen@thu.example"),
    ("René “Rey” D’Arcy", "rene@darcy.example"),
)

PLACES = (
    "Blue Kettle", "Northwind Books", "Café Olé", "Rail & Road", "Orchard Bank", "Paper Plane", "Kino Žižkov",
    "Green Parcel", "Studio 9", "City Library",
)  # fmt: skip

TOPICS = (
    "the garden party", "Q3 numbers", "your order", "train tickets", "the new flat", "Ausflug nach Köln", "la réunion",
    "the bike repair", "piano lessons", "winter schedule", "日程", "школа", "invoice 20418", "the leaking tap",
)  # fmt: skip

SUBJECTS = (
    "{topic}", "About {topic}", "Question about {topic}", "{topic}?", "Lunch at {place}", "Photos from {place}",
    "Notes: {topic}", "Can you look at {topic} today", "Grüße aus {place}", "Réponse rapide à propos de {topic}",
    "🎉 {topic} 🎉", "Thanks 🙏 for {topic}", "会議の件", "写真をありがとう", "Встреча в {place}", "שלום מכולם",
    "مرحبا بالجميع", "Re: {topic}", "Fwd: {topic}", "Price: 20 € – “last call” for {topic}", "Smörgåsbord, 9 % {topic}",
    "[list] {topic}; draft=2_final", "Ελλάδα και {topic}",
)  # fmt: skip

SENTENCES = (
    "Could we move this to Thursday? I have the dentist in the morning.",
    "The parcel came, but one of the cups <the blue one> is broken & I'd like another.",
    "I'll bring bread, you bring the rest, and nobody mentions the score.",
    "Der Schlüssel liegt unter dem großen Blumentopf, bitte danach zurücklegen.",
    "N'oublie pas d'arroser les tomates; il fait déjà très chaud.",
    "添付の資料をご確認ください。来週の火曜日にお会いしましょう。",
    "Спасибо за письмо, отвечу подробно вечером.",
    "תודה רבה, נתראה בשבוע הבא.",
    "Attached is the second version; the numbers on page three changed.",
    "Please confirm by Friday so that the tickets can be printed.",
    "Your statement is ready. Sign in to the portal to read it.",
    "Nothing urgent, just saying hello from the coast 🌊.",
    "The meeting notes are in the usual place, decisions at the top.",
    'He said "it\'s fine", which, as you know, it never is.',
)
