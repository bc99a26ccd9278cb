from itertools import combinations

import pytest

from voxtral_serverless.transcription.language import VOXTRAL_LANGUAGES, identify

SENTENCES = {
    "en": [
        "Hello, I'm calling about my last invoice.",
        "Could you give me your customer number, please?",
        "Yes, hold on, I've got it right here.",
        "I've been waiting for more than two weeks now.",
        "No, that's not what I was told.",
        "All right, I'll send you an email.",
        "It was supposed to arrive on Monday morning.",
        "Okay, thank you very much for your help.",
        "Sorry, could you say that again?",
        "Have a nice day, goodbye.",
    ],
    "fr": [
        "Bonjour, je vous appelle au sujet de ma facture.",
        "Vous pouvez me donner votre numéro de client ?",
        "Oui, attendez, je l'ai sous les yeux.",
        "Ça fait plus de deux semaines que j'attends.",
        "Non, c'est pas ce qu'on m'a dit.",
        "D'accord, je vous envoie un mail.",
        "Normalement, ça devait arriver lundi matin.",
        "Très bien, merci beaucoup pour votre aide.",
        "Pardon, vous pouvez répéter ?",
        "Bonne journée, au revoir.",
    ],
    "es": [
        "Buenos días, llamo por mi última factura.",
        "¿Me puede dar su número de cliente, por favor?",
        "Sí, espere, lo tengo aquí mismo.",
        "Llevo más de dos semanas esperando.",
        "No, eso no es lo que me dijeron.",
        "De acuerdo, le mando un correo.",
        "Tenía que llegar el lunes por la mañana.",
        "Vale, muchas gracias por su ayuda.",
        "Perdone, ¿puede repetirlo?",
        "Que tenga un buen día, adiós.",
    ],
    "de": [
        "Guten Tag, ich rufe wegen meiner Rechnung an.",
        "Können Sie mir bitte Ihre Kundennummer sagen?",
        "Ja, Moment, die habe ich hier.",
        "Ich warte jetzt schon über zwei Wochen.",
        "Nein, das hat man mir anders gesagt.",
        "Gut, dann schicke ich Ihnen eine Mail.",
        "Das sollte eigentlich am Montag kommen.",
        "Alles klar, vielen Dank für Ihre Hilfe.",
        "Entschuldigung, können Sie das wiederholen?",
        "Schönen Tag noch, auf Wiederhören.",
    ],
    "it": [
        "Buongiorno, chiamo per la mia ultima bolletta.",
        "Mi può dare il suo codice cliente, per favore?",
        "Sì, aspetti, ce l'ho qui davanti.",
        "Sto aspettando da più di due settimane.",
        "No, non è quello che mi hanno detto.",
        "Va bene, le mando una mail.",
        "Doveva arrivare lunedì mattina.",
        "Perfetto, grazie mille per l'aiuto.",
        "Scusi, può ripetere?",
        "Buona giornata, arrivederci.",
    ],
    "pt": [
        "Bom dia, estou a ligar por causa da minha fatura.",
        "Pode me dizer o seu número de cliente, por favor?",
        "Sim, espere, tenho aqui comigo.",
        "Já estou esperando há mais de duas semanas.",
        "Não, não foi isso que me disseram.",
        "Está bem, eu envio um e-mail.",
        "Era para chegar na segunda-feira de manhã.",
        "Certo, muito obrigado pela ajuda.",
        "Desculpe, pode repetir?",
        "Tenha um bom dia, tchau.",
    ],
    "nl": [
        "Goedemorgen, ik bel over mijn laatste rekening.",
        "Mag ik uw klantnummer, alstublieft?",
        "Ja, een ogenblikje, die heb ik hier.",
        "Ik wacht nu al meer dan twee weken.",
        "Nee, dat is niet wat ze zeiden.",
        "Goed, ik stuur u even een mailtje.",
        "Het zou maandagochtend geleverd worden.",
        "Oké, hartelijk dank voor uw hulp.",
        "Sorry, kunt u dat herhalen?",
        "Fijne dag nog, tot ziens.",
    ],
    "hi": [
        "नमस्ते, मैं अपने बिल के बारे में फ़ोन कर रहा हूँ।",
        "क्या आप अपना ग्राहक नंबर बता सकते हैं?",
        "जी हाँ, एक मिनट रुकिए।",
        "मैं दो हफ़्ते से इंतज़ार कर रही हूँ।",
        "नहीं, मुझे ऐसा नहीं बताया गया था।",
        "ठीक है, मैं आपको ईमेल भेज देता हूँ।",
        "यह सोमवार सुबह आना था।",
        "बहुत बहुत धन्यवाद आपकी मदद के लिए।",
        "माफ़ कीजिए, फिर से बोलिए।",
        "आपका दिन शुभ हो।",
    ],
    "ar": [
        "صباح الخير، أتصل بخصوص فاتورتي الأخيرة.",
        "ممكن تعطيني رقم العميل من فضلك؟",
        "نعم، لحظة واحدة، هو عندي هنا.",
        "أنا أنتظر منذ أكثر من أسبوعين.",
        "لا، هذا ليس ما قالوه لي.",
        "حسنا، سأرسل لك رسالة.",
        "كان المفروض يوصل يوم الاثنين.",
        "شكرا جزيلا على مساعدتك.",
        "عفوا، ممكن تعيد مرة ثانية؟",
        "مع السلامة، يومك سعيد.",
    ],
}
"""What is said in most calls."""
SCRAPS = {
    "en": [
        "Yeah, no, sure, go ahead.",
        "Double oh seven, four, two, nine.",
        "It's Martin, M A R T I N.",
        "Uh-huh, okay, right.",
        "jane dot miller at gmail dot com",
        "Twenty-two, Rue de la Paix, Paris.",
        "Hi, this is Sofia Garcia calling.",
        "Hmm, let me check, one sec.",
        "The Wi-Fi box keeps blinking red.",
        "Bye now, bye, thanks.",
    ],
    "fr": [
        "Ouais, non, bien sûr, allez-y.",
        "Zéro six, douze, trente-quatre, cinquante-six.",
        "C'est Martin, M A R T I N.",
        "Hum, OK, d'accord.",
        "jeanne point dupont arobase gmail point com",
        "Vingt-deux, Oxford Street, à Londres.",
        "Allô, oui, c'est Sofia Garcia.",
        "Euh, je regarde, un instant.",
        "La box Wi-Fi clignote en rouge.",
        "Au revoir, merci, au revoir.",
    ],
    "es": [
        "Sí, no, claro, dígame.",
        "Seis, cuatro, dos, nueve, cero, uno.",
        "Es Martín, M A R T I N.",
        "Ajá, vale, bien.",
        "ana punto lopez arroba gmail punto com",
        "Veintidós, Oxford Street, en Londres.",
        "Hola, soy Sofia Garcia.",
        "Eh, lo miro, un segundo.",
        "El router del wifi parpadea en rojo.",
        "Adiós, gracias, hasta luego.",
    ],
    "de": [
        "Ja, nein, klar, gerne.",
        "Null sechs, zwölf, vierunddreißig.",
        "Martin, M A R T I N.",
        "Hm, okay, gut.",
        "anna Punkt meier ät gmail Punkt com",
        "Zweiundzwanzig, Oxford Street, London.",
        "Hallo, hier ist Sofia Garcia.",
        "Äh, ich schau mal, Moment.",
        "Die WLAN-Box blinkt rot.",
        "Tschüss, danke, tschüss.",
    ],
    "it": [
        "Sì, no, certo, mi dica.",
        "Tre, quattro, due, nove, zero, uno.",
        "È Martin, M A R T I N.",
        "Mm, ok, va bene.",
        "anna punto rossi chiocciola gmail punto com",
        "Ventidue, Oxford Street, a Londra.",
        "Pronto, sono Sofia Garcia.",
        "Eh, guardo, un attimo.",
        "Il modem del wifi lampeggia rosso.",
        "Arrivederci, grazie, salve.",
    ],
    "pt": [
        "Sim, não, claro, pode falar.",
        "Nove, quatro, dois, sete, zero, um.",
        "É Martins, M A R T I N S.",
        "Aham, ok, tá bom.",
        "ana ponto silva arroba gmail ponto com",
        "Vinte e dois, Oxford Street, Londres.",
        "Alô, aqui é a Sofia Garcia.",
        "É, deixa eu ver, um momento.",
        "O modem do wifi está piscando vermelho.",
        "Tchau, obrigada, até logo.",
    ],
    "nl": [
        "Ja, nee, tuurlijk, zeg maar.",
        "Nul zes, twaalf, vierendertig.",
        "Het is Martin, M A R T I N.",
        "Hm, oké, goed.",
        "anna punt de vries apenstaartje gmail punt com",
        "Tweeëntwintig, Oxford Street, Londen.",
        "Hallo, met Sofia Garcia.",
        "Eh, ik kijk even, momentje.",
        "Het wifi-kastje knippert rood.",
        "Dag, bedankt, doei.",
    ],
    "hi": [
        "हाँ, नहीं, बिल्कुल, बोलिए।",
        "नौ आठ सात छह पाँच चार।",
        "मार्टिन, एम ए आर टी आई एन।",
        "हम्म, ओके, ठीक।",
        "अंजलि डॉट शर्मा ऐट जीमेल डॉट कॉम",
        "बाईस, ऑक्सफ़ोर्ड स्ट्रीट, लंदन।",
        "हैलो, मैं सोफ़िया बोल रही हूँ।",
        "एक सेकंड, देखती हूँ।",
        "वाई-फ़ाई पर लाल बत्ती है।",
        "अलविदा, धन्यवाद।",
    ],
    "ar": [
        "نعم، لا، طبعا، تفضل.",
        "صفر ستة، اثنا عشر.",
        "مارتن، ميم ألف راء تاء نون.",
        "أها، أوكي، طيب.",
        "سارة نقطة علي آت جيميل",
        "اثنان وعشرون، شارع أكسفورد، لندن.",
        "ألو، معك صوفيا.",
        "لحظة، خليني أشوف.",
        "جهاز الواي فاي يومض أحمر.",
        "مع السلامة، شكرا.",
    ],
}
"""What tells least of a language: fillers, numbers, spelled names, foreign addresses."""


def joined_by_three(sentences: list[str]) -> list[tuple[str, ...]]:
    """As the pipeline asks: for the texts of three clips."""
    return list(combinations(sentences, 3))


@pytest.mark.parametrize("language", VOXTRAL_LANGUAGES)
def test_each_sentence_of_a_call_is_known(language: str) -> None:
    assert [identify([sentence]) for sentence in SENTENCES[language]] == [language] * len(SENTENCES[language])


@pytest.mark.parametrize("language", VOXTRAL_LANGUAGES)
def test_three_sentences_of_a_call_are_known(language: str) -> None:
    assert {identify(texts) for texts in joined_by_three(SENTENCES[language])} == {language}


@pytest.mark.parametrize("language", VOXTRAL_LANGUAGES)
def test_scraps_are_hardly_ever_taken_for_another_language(language: str) -> None:
    answers = [identify(texts) for texts in joined_by_three(SCRAPS[language])]
    assert answers.count(language) >= 0.93 * len(answers)
    assert len([answer for answer in answers if answer not in (None, language)]) <= 0.05 * len(answers)


@pytest.mark.parametrize(
    "text",
    ["", "06 12 34 56 78", "OK", "ok ok ok", "Allô ?", "ha ha ha", "Paul Martin", "M A R T I N", "谢谢观看谢谢观看"],
)
def test_too_little_or_unsure(text: str) -> None:
    assert identify([text]) is None


def test_vowel_signs_are_letters() -> None:
    assert identify(["जी हाँ, ठीक"]) == "hi"


def test_no_texts() -> None:
    assert identify([]) is None


def test_candidates_are_all_there_is_to_choose_from() -> None:
    dutch = " ".join(SENTENCES["nl"])
    assert identify([dutch], ["de", "nl"]) == "nl"
    assert identify([dutch], ["de"]) == "de"
    assert identify([dutch]) == "nl"
