"""What a mailbox is for: told by the server (SPECIAL-USE, RFC 6154), else guessed from its name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from sync.providers.base import RemoteFolder, Role

#: RFC 6154 attributes, lower case: Cyrus spells them so, and case means nothing.
SPECIAL_USE: dict[str, Role] = {
    "\\sent": "sent",
    "\\drafts": "drafts",
    "\\trash": "trash",
    "\\junk": "junk",
    "\\archive": "archive",
    "\\all": "all",
}

# Names that mail programs and servers give these folders, by role: English first, then other languages.
# Only names that mean nothing else are listed: "Deleted" is trash, a lone "Items" is not.
_NAMES: dict[Role, str] = {
    "sent": """
        sent|sent items|sent mail|sent messages|sent-mail|sentbox|
        gesendet|gesendete|gesendete elemente|gesendete objekte|gesendete nachrichten|versendet|
        envoyés|messages envoyés|éléments envoyés|objets envoyés|courrier envoyé|envoyé|
        enviados|elementos enviados|mensajes enviados|correo enviado|enviado|enviats|elements enviats|
        inviati|posta inviata|inviata|elementi inviati|messaggi inviati|itens enviados|mensagens enviadas|enviadas|
        verzonden|verzonden items|verzonden berichten|verzonden e-mail|
        wysłane|elementy wysłane|wiadomości wysłane|poczta wysłana|
        отправленные|отправлено|отправленные элементы|надіслані|відправлені|надіслано|
        odeslané|odeslaná pošta|odeslané zprávy|odoslané|odoslaná pošta|
        skickat|skickade|skickade objekt|sendt|sendte elementer|sendt post|sendte meddelelser|
        lähetetyt|lähetetyt viestit|elküldött|elküldött elemek|elküldött üzenetek|
        trimise|elemente trimise|mesaje trimise|gönderilmiş öğeler|gönderilenler|gönderilmiş|gönderilen|
        poslano|poslane|poslane stavke|изпратени|послате|απεσταλμένα|σταλμένα|
        נשלח|דואר שנשלח|פריטים שנשלחו|הפריטים שנשלחו|المرسلة|المرسل|البريد المرسل|العناصر المرسلة|الرسائل المرسلة|
        送信済み|送信済みアイテム|送信済みメール|送信済みトレイ|已发送|已发送邮件|已发邮件|已傳送|寄件備份|寄件匣備份|已傳送的郵件|
        보낸 편지함|보낸편지함|보낸 메일함|보낸메일함|đã gửi|thư đã gửi|terkirim|ส่งแล้ว
    """,
    "drafts": """
        draft|drafts|entwurf|entwürfe|brouillon|brouillons|borrador|borradores|esborranys|
        bozza|bozze|rascunho|rascunhos|concepten|concept|kopie robocze|szkice|wersje robocze|robocze|
        черновик|черновики|чернетки|чорнетки|koncept|koncepty|rozepsané|rozpracované|
        utkast|kladde|kladder|udkast|luonnos|luonnokset|piszkozat|piszkozatok|ciorne|schițe|mesaje nefinalizate|
        taslak|taslaklar|nacrti|osnutki|skice|чернови|нацрти|πρόχειρα|
        טיוטה|טיוטות|مسودات|المسودات|مسودة|
        下書き|草稿|草稿箱|草稿匣|임시 보관함|임시보관함|초안|thư nháp|bản nháp|draf|ร่าง|แบบร่าง
    """,
    "trash": """
        trash|deleted|deleted items|deleted messages|deleted mail|bin|wastebasket|rubbish|
        papierkorb|gelöscht|gelöschte|gelöschte elemente|gelöschte objekte|gelöschte nachrichten|
        corbeille|éléments supprimés|messages supprimés|supprimés|
        papelera|elementos eliminados|mensajes eliminados|eliminados|paperera|
        cestino|posta eliminata|elementi eliminati|eliminata|lixeira|lixo|itens excluídos|itens eliminados|
        prullenbak|prullenmand|verwijderde items|verwijderde berichten|
        kosz|elementy usunięte|usunięte|корзина|удаленные|удалённые|удаленные элементы|кошик|видалені|
        koš|odstraněná pošta|odstraněné|kôš|odstránené|papperskorg|papperskorgen|borttaget|borttagna objekt|
        papirkurv|papirkurven|slettet post|slettede elementer|søppelbøtte|roskakori|poistetut|poistetut viestit|
        kuka|lomtár|törölt elemek|törölt|coș de gunoi|gunoi|coș|elemente șterse|șterse|
        çöp kutusu|çöp|silinmiş öğeler|silinmiş|smeće|koš za smeće|кошче|смеће|κάδος|κάδος απορριμμάτων|διαγραμμένα|
        אשפה|פריטים שנמחקו|סל המחזור|المهملات|سلة المهملات|المحذوفة|العناصر المحذوفة|
        ゴミ箱|ごみ箱|削除済みアイテム|废件箱|废纸篓|已删除|已删除邮件|已删除邮件箱|垃圾桶|刪除的郵件|已刪除的郵件|
        휴지통|지운 편지함|지운편지함|삭제된 항목|thùng rác|sampah|ถังขยะ
    """,
    "junk": """
        junk|spam|junk mail|junk e-mail|junk email|bulk|bulk mail|spamverdacht|unerwünscht|unerwünschte werbung|
        junk-e-mail|indésirables|courrier indésirable|pourriel|pourriels|
        correo no deseado|no deseado|correu brossa|posta indesiderata|indesiderata|lixo eletrônico|lixo eletrónico|
        ongewenste e-mail|ongewenst|ongewenste mail|wiadomości-śmieci|niechciane|спам|
        нежелательная почта|небажана пошта|nevyžádaná pošta|nevyžádané|nevyžiadaná pošta|
        skräppost|uønsket mail|uønsket post|uønsket e-post|søppelpost|roskaposti|levélszemét|
        istenmeyen|istenmeyen e-posta|önemsiz|önemsiz e-posta|gereksiz|gereksiz e-posta|neželjena pošta|neželena pošta|
        нежелана поща|ανεπιθύμητα|ανεπιθύμητη αλληλογραφία|
        דואר זבל|ספאם|دعائي|البريد غير الهام|الرسائل غير المرغوب فيها|البريد العشوائي|بريد مزعج|
        迷惑メール|スパム|垃圾邮件|垃圾郵件|广告邮件|스팸|스팸 편지함|스팸편지함|스팸메일함|정크 메일|정크|
        thư rác|จดหมายขยะ
    """,
    "archive": """
        archive|archives|archived|archiv|archivierte nachrichten|archivo|archivados|archivio|arquivo|arquivos|arxiu|
        archief|archiwum|архив|архів|archív|arkiv|arkisto|arhivă|arhiva|arhiv|arşiv|αρχείο|αρχειοθέτηση|
        ארכיון|أرشيف|الأرشيف|アーカイブ|存档|归档|封存|보관|보관함|보관 편지함|lưu trữ|arsip
    """,
}


def fold(name: str) -> str:
    """Return a name for comparing: case, width and the form of accents mean nothing."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


ROLE_BY_NAME: dict[str, Role] = {
    fold(name): role for role, names in _NAMES.items() for name in names.split("|") if name.strip()
}


def told_role(ref: str, attributes: Iterable[str]) -> Role | None:
    """Return the role the server tells; INBOX has its own by its name."""
    if ref == "INBOX":
        return "inbox"
    told = (SPECIAL_USE.get(attribute.lower()) for attribute in attributes)
    return next((role for role in told if role), None)


def guess_roles(folders: Sequence[RemoteFolder], top_levels: frozenset[str]) -> dict[str, Role]:
    """Return ref -> role for folders whose name tells what they are for.

    `top_levels`: folded first levels that only hold the owner's folders (an "INBOX." prefix, "[Gmail]").
    Only where no folder has the role yet and exactly one fits, and only for folders right below the top:
    "Projects/Sent" is someone's own, and where "Sent" and "Sent Items" both exist nobody can know.
    """
    taken = {folder.role for folder in folders if folder.role}
    fitting: dict[Role, list[str]] = {}
    for folder in folders:
        if folder.role or not folder.selectable:
            continue
        role = ROLE_BY_NAME.get(fold(_top_name(folder.levels, top_levels)))
        if role and role not in taken:
            fitting.setdefault(role, []).append(folder.ref)
    return {refs[0]: role for role, refs in fitting.items() if len(refs) == 1}


def _top_name(levels: tuple[str, ...], top_levels: frozenset[str]) -> str:
    if len(levels) == 2 and fold(levels[0]) in top_levels:
        return levels[1]
    return levels[0] if len(levels) == 1 else ""
