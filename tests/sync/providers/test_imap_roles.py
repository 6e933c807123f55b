"""What a mailbox is for, by the server's word or by its name in the languages of the world."""

from __future__ import annotations

import pytest

from sync.providers.base import RemoteFolder, Role
from sync.providers.imap_roles import ROLE_BY_NAME, fold, guess_roles, told_role

TOP = frozenset({"inbox", "[gmail]"})
#: language -> sent, drafts, trash, junk as its mail programs call them.
NAMES = {
    "English": "Sent Items|Drafts|Deleted Items|Junk E-mail",
    "German": "Gesendete Elemente|Entwürfe|Papierkorb|Spamverdacht",
    "French": "Éléments envoyés|Brouillons|Corbeille|Courrier indésirable",
    "Spanish": "Elementos enviados|Borradores|Papelera|Correo no deseado",
    "Italian": "Posta inviata|Bozze|Cestino|Posta indesiderata",
    "Portuguese": "Itens Enviados|Rascunhos|Lixeira|Lixo Eletrônico",
    "Dutch": "Verzonden items|Concepten|Prullenbak|Ongewenste e-mail",
    "Polish": "Elementy wysłane|Kopie robocze|Kosz|Wiadomości-śmieci",
    "Russian": "Отправленные|Черновики|Корзина|Спам",
    "Ukrainian": "Надіслані|Чернетки|Кошик|Небажана пошта",
    "Czech": "Odeslaná pošta|Koncepty|Koš|Nevyžádaná pošta",
    "Swedish": "Skickat|Utkast|Papperskorgen|Skräppost",
    "Danish": "Sendt post|Kladder|Papirkurv|Uønsket mail",
    "Finnish": "Lähetetyt|Luonnokset|Roskakori|Roskaposti",
    "Hungarian": "Elküldött elemek|Piszkozatok|Törölt elemek|Levélszemét",
    "Turkish": "Gönderilmiş Öğeler|Taslaklar|Çöp Kutusu|Önemsiz E-posta",
    "Greek": "Απεσταλμένα|Πρόχειρα|Κάδος|Ανεπιθύμητα",
    "Hebrew": "פריטים שנשלחו|טיוטות|פריטים שנמחקו|דואר זבל",
    "Arabic": "العناصر المرسلة|المسودات|العناصر المحذوفة|البريد العشوائي",
    "Japanese": "送信済みアイテム|下書き|削除済みアイテム|迷惑メール",
    "Chinese": "已发送邮件|草稿|已删除邮件|垃圾邮件",
    "Korean": "보낸 편지함|임시 보관함|휴지통|스팸메일함",
}


def folder(*levels: str, role: Role | None = None, selectable: bool = True) -> RemoteFolder:
    return RemoteFolder("/".join(levels), levels, "/", (), role, selectable)


def roles(*folders: RemoteFolder) -> dict[str, Role]:
    return guess_roles(folders, TOP)


@pytest.mark.parametrize("language", NAMES)
def test_names_tell_roles_in_the_common_languages(language: str) -> None:
    sent, drafts, trash, junk = NAMES[language].split("|")
    found = roles(folder(sent), folder(drafts), folder(trash), folder(junk), folder("Kunden"))
    assert found == {sent: "sent", drafts: "drafts", trash: "trash", junk: "junk"}


def test_case_width_and_the_form_of_accents_mean_nothing() -> None:
    decomposed = "Entwu\u0308rfe"
    assert roles(folder("GESENDET"), folder(decomposed)) == {"GESENDET": "sent", decomposed: "drafts"}
    assert roles(folder("ｔｒａｓｈ")) == {"ｔｒａｓｈ": "trash"}


def test_no_name_stands_for_two_roles() -> None:
    assert all(name == fold(name) for name in ROLE_BY_NAME)
    assert len(ROLE_BY_NAME) > 300
    # short words that people use for folders of their own
    assert not ROLE_BY_NAME.keys() & {"items", "mail", "inbox", "old", "important", "notes", "all"}


def test_the_servers_word_comes_first_and_in_any_case() -> None:
    assert told_role("Gesendet", ["\\HasNoChildren", "\\SENT"]) == "sent"
    assert told_role("INBOX", ["\\Trash"]) == "inbox"
    assert told_role("Sent", ["\\HasNoChildren"]) is None
    assert roles(folder("Post", role="sent"), folder("Sent")) == {}


def test_below_the_top_a_name_is_someones_own() -> None:
    assert roles(folder("Projects", "Sent"), folder("a", "b", "Trash")) == {}
    assert roles(folder("INBOX", "Sent"), folder("[Gmail]", "Spam")) == {"INBOX/Sent": "sent", "[Gmail]/Spam": "junk"}


def test_of_two_that_fit_none_is_chosen() -> None:
    assert roles(folder("Sent"), folder("Sent Items"), folder("Trash")) == {"Trash": "trash"}


def test_folder_that_cannot_be_opened_has_no_role() -> None:
    assert roles(folder("Sent", selectable=False), folder("Sent Items")) == {"Sent Items": "sent"}
