"""What is said, language by language, for what is written without letters: tables for `spelling`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lexicon:
    """What is said in a language for what is written without letters.

    Attributes:
        letters: The names of a to z.
        months: Their names.
        symbols: Their names, also those of "." and "," in a number, and words that nothing else here tells.
        address: The names of symbols in an e-mail or web address, where they are others.
        units: After a number: "one/several/hundredths", or fewer of them where they are the same.
        abbreviations: In small letters. One that ends in a point needs it, and a capital after it; in "#", a number.
        ordinals: What a number that tells an order ends in (a pattern).
        cents_after: What joins an amount's hundredths to it.
        hour: "one/several".
        says_hours: Also where ":" stands for them.
        feminine_hours: One o'clock is "une", not "un".
        minutes_after: What joins minutes to the hour.
        ordinal_days: The days of a month up to this one are ordinals.
        before_month: Said in a date …
        before_year: … likewise.
        english: Decimal mark "." and thousands ",", months first, long numbers by digits, "oh five" minutes.
        spaced_millions: 1 000 000 is one number; 1 000 is in all but English.
        decimals_by_digit: Else two of them are a number.
        numbers_by_group: Telephone numbers are read so; else by digits.
        old_years: 1905 is "nineteen …".
    """

    letters: str = ""
    months: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict)
    address: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    ordinals: str = r"(?!)"
    cents_after: str = ""
    hour: str = ""
    says_hours: bool = False
    feminine_hours: bool = False
    minutes_after: str = ""
    ordinal_days: int = 0
    before_month: str = ""
    before_year: str = ""
    english: bool = False
    spaced_millions: bool = False
    decimals_by_digit: bool = False
    numbers_by_group: bool = False
    old_years: bool = False


GERMAN_MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
LEXICONS: Mapping[str, Lexicon] = {
    "en": Lexicon(
        letters="ay bee cee dee ee eff gee aitch eye jay kay ell em en oh pee cue ar ess tee you vee double-you ex why zee",
        months="January February March April May June July August September October November December",
        symbols={
            ".": "point", "&": "and", "+": "plus", "=": "equals", "@": "at", "#": "hash", "-": "minus",
            "k": "thousand", "M": "million",
        },
        address={".": "dot", "-": "dash", "_": "underscore", "/": "slash"},
        units={
            "€": "euro/euros/cents", "$": "dollar/dollars/cents", "£": "pound/pounds/pence", "₹": "rupee/rupees/paise",
            "%": "percent", "°": "degree/degrees", "°C": "degree/degrees", "°F": "degree/degrees",
            "km/h": "kilometers an hour", "km": "kilometer/kilometers", "kg": "kilo/kilos",
            "cm": "centimeter/centimeters", "mm": "millimeter/millimeters", "min": "minute/minutes",
            "MB": "megabyte/megabytes", "GB": "gigabyte/gigabytes",
        },
        abbreviations={
            "mr": "mister", "mrs": "missus", "ms": "miss", "dr": "doctor", "prof": "professor", "jr": "junior",
            "sr": "senior", "st.": "saint", "no.#": "number", "etc": "et cetera", "vs": "versus", "approx": "approximately",
        },
        ordinals="st|nd|rd|th", ordinal_days=31, english=True, decimals_by_digit=True, old_years=True,
    ),
    "fr": Lexicon(
        letters="a bé cé dé e effe gé ache i ji ka elle emme enne o pé cu erre esse té u vé double-vé ixe i-grec zède",
        months="janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        symbols={
            ".": "point", ",": "virgule", "&": "et", "+": "plus", "=": "égale", "@": "arobase", "#": "dièse",
            "-": "moins", "k": "mille", "M": "millions", "2nd": "second", "2nde": "seconde",
        },
        address={"-": "tiret", "_": "tiret bas", "/": "slash"},
        units={
            "€": "euro/euros/centimes", "$": "dollar/dollars/cents", "£": "livre/livres/pence", "₹": "roupie/roupies",
            "%": "pour cent", "°": "degré/degrés", "°C": "degré/degrés", "km/h": "kilomètres heure",
            "km": "kilomètre/kilomètres", "kg": "kilo/kilos", "cm": "centimètre/centimètres",
            "mm": "millimètre/millimètres", "m2": "mètre carré/mètres carrés", "min": "minute/minutes",
            "Mo": "mégaoctet/mégaoctets", "Go": "gigaoctet/gigaoctets", "kWh": "kilowattheure/kilowattheures",
        },
        abbreviations={
            "m.": "monsieur", "mm.": "messieurs", "mr": "monsieur", "mme": "madame", "mmes": "mesdames",
            "mlle": "mademoiselle", "dr": "docteur", "pr.": "professeur", "me.": "maître", "st.": "saint",
            "ste": "sainte", "n°": "numéro", "n°s": "numéros", "etc": "et cetera", "bd": "boulevard", "tél": "téléphone",
            "rdv": "rendez-vous", "svp": "s'il vous plaît", "c.-à-d": "c'est-à-dire", "p. ex": "par exemple",
        },
        ordinals="i?ers?|i?[èe]?res?|i?[èe]mes?|es?|ndes?|nds?", ordinal_days=1, hour="heure/heures", says_hours=True,
        feminine_hours=True, spaced_millions=True, numbers_by_group=True,
    ),
    "es": Lexicon(
        letters="a be ce de e efe ge hache i jota ka ele eme ene o pe cu erre ese te u uve uve-doble equis i-griega zeta",
        months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        symbols={
            ".": "punto", ",": "coma", "&": "y", "+": "más", "=": "igual", "@": "arroba", "#": "almohadilla",
            "-": "menos", "k": "mil", "M": "millones",
        },
        address={"-": "guion", "_": "guion bajo", "/": "barra"},
        units={
            "€": "euro/euros/céntimos", "$": "dólar/dólares/centavos", "£": "libra/libras/peniques",
            "₹": "rupia/rupias", "%": "por ciento", "°": "grado/grados", "°C": "grado/grados",
            "km/h": "kilómetros por hora", "km": "kilómetro/kilómetros", "kg": "kilo/kilos",
            "cm": "centímetro/centímetros", "m2": "metro cuadrado/metros cuadrados", "min": "minuto/minutos",
            "MB": "mega/megas", "GB": "giga/gigas",
        },
        abbreviations={
            "sr": "señor", "sra": "señora", "srta": "señorita", "sres": "señores", "dr": "doctor", "dra": "doctora",
            "d.": "don", "dña": "doña", "ud": "usted", "uds": "ustedes", "vd": "usted", "n°": "número",
            "n.°": "número", "núm": "número", "etc": "etcétera", "ee.uu": "estados unidos", "tel": "teléfono",
            "avda": "avenida",
        },
        ordinals=r"\.?[oa]|er|[rdtvmn][oa]|(?<!\d\d)\.?°", cents_after="con", hour="hora/horas", feminine_hours=True,
        before_month="de", before_year="de",
    ),
    "de": Lexicon(
        letters="a be ze de e ef ge ha i jot ka el em en o pe ku er es te u vau we ix ypsilon zett",
        months=GERMAN_MONTHS,
        symbols={
            ".": "Punkt", ",": "Komma", "&": "und", "+": "plus", "=": "gleich", "@": "ät", "#": "Raute",
            "-": "minus", "k": "tausend", "M": "Millionen",
        },
        address={"-": "minus", "_": "Unterstrich", "/": "Schrägstrich"},
        units={
            "€": "Euro/Euro/Cent", "$": "Dollar/Dollar/Cent", "£": "Pfund/Pfund/Pence", "₹": "Rupie/Rupien",
            "%": "Prozent", "°": "Grad", "°C": "Grad", "km/h": "Kilometer pro Stunde", "km": "Kilometer", "kg": "Kilo",
            "cm": "Zentimeter", "mm": "Millimeter", "m2": "Quadratmeter", "min": "Minute/Minuten",
            "MB": "Megabyte", "GB": "Gigabyte", "kWh": "Kilowattstunde/Kilowattstunden",
        },
        abbreviations={
            "hr.": "Herr", "fr.": "Frau", "dr": "Doktor", "prof": "Professor", "nr": "Nummer", "tel": "Telefon",
            "str.": "Straße", "st.": "Sankt", "z.b": "zum Beispiel", "d.h": "das heißt", "u.a": "unter anderem",
            "usw": "und so weiter", "bzw": "beziehungsweise", "ca": "circa", "evtl": "eventuell",
            "ggf": "gegebenenfalls", "inkl": "inklusive", "zzgl": "zuzüglich", "mwst": "Mehrwertsteuer",
        },
        ordinals=rf"\.(?= (?:{GERMAN_MONTHS.replace(' ', '|')})\b)", ordinal_days=31, hour="Uhr",
        decimals_by_digit=True, old_years=True,
    ),
    "it": Lexicon(
        letters="a bi ci di e effe gi acca i i-lunga cappa elle emme enne o pi cu erre esse ti u vu doppia-vu ics ipsilon zeta",
        months="gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        symbols={
            ".": "punto", ",": "virgola", "&": "e", "+": "più", "=": "uguale", "@": "chiocciola", "#": "cancelletto",
            "-": "meno", "k": "mila", "M": "milioni",
        },
        address={"-": "trattino", "_": "trattino basso", "/": "barra"},
        units={
            "€": "euro/euro/centesimi", "$": "dollaro/dollari/centesimi", "£": "sterlina/sterline/pence",
            "₹": "rupia/rupie", "%": "per cento", "°": "grado/gradi", "°C": "grado/gradi",
            "km/h": "chilometri orari", "km": "chilometro/chilometri", "kg": "chilo/chili",
            "cm": "centimetro/centimetri", "m2": "metro quadrato/metri quadrati", "min": "minuto/minuti",
            "MB": "mega", "GB": "giga",
        },
        abbreviations={
            "sig": "signor", "sig.ra": "signora", "sig.na": "signorina", "sigg": "signori", "dott": "dottor",
            "dott.ssa": "dottoressa", "dr": "dottor", "ing": "ingegner", "avv": "avvocato", "prof": "professor",
            "prof.ssa": "professoressa", "n.#": "numero", "n°": "numero", "ecc": "eccetera", "tel": "telefono",
        },
        ordinals=r"[oa]|(?<!\d\d)°", cents_after="e", minutes_after="e", hour="ora/ore", ordinal_days=1,
    ),
    "pt": Lexicon(
        letters="á bê cê dê é efe gê agá i jota cá ele eme ene ó pê quê erre esse tê u vê dáblio xis ípsilon zê",
        months="janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        symbols={
            ".": "ponto", ",": "vírgula", "&": "e", "+": "mais", "=": "igual", "@": "arroba", "#": "cardinal",
            "-": "menos", "k": "mil", "M": "milhões",
        },
        address={"-": "hífen", "_": "underline", "/": "barra"},
        units={
            "€": "euro/euros/cêntimos", "R$": "real/reais/centavos", "$": "dólar/dólares/centavos",
            "£": "libra/libras/pence", "₹": "rupia/rupias", "%": "por cento", "°": "grau/graus",
            "°C": "grau/graus", "km/h": "quilômetros por hora", "km": "quilômetro/quilômetros", "kg": "quilo/quilos",
            "cm": "centímetro/centímetros", "m2": "metro quadrado/metros quadrados", "min": "minuto/minutos",
            "MB": "mega/megas", "GB": "giga/gigas",
        },
        abbreviations={
            "sr": "senhor", "sra": "senhora", "srs": "senhores", "dr": "doutor", "dra": "doutora", "eng": "engenheiro",
            "prof": "professor", "d.": "dona", "n°": "número", "n.°": "número", "etc": "etcétera", "tel": "telefone",
        },
        ordinals=r"\.?[oa]|(?<!\d\d)\.?°", cents_after="e", hour="hora/horas", feminine_hours=True, minutes_after="e",
        ordinal_days=1, before_month="de", before_year="de",
    ),
    "nl": Lexicon(
        letters="a bee cee dee ee ef gee haa ie jee kaa el em en oo pee kuu er es tee uu vee wee iks ij zet",
        months="januari februari maart april mei juni juli augustus september oktober november december",
        symbols={
            ".": "punt", ",": "komma", "&": "en", "+": "plus", "=": "is", "@": "apenstaartje", "#": "hekje",
            "-": "min", "k": "duizend", "M": "miljoen",
        },
        address={"-": "streepje", "_": "underscore", "/": "slash"},
        units={
            "€": "euro/euro/cent", "$": "dollar/dollar/cent", "£": "pond/pond/pence", "₹": "roepie/roepies",
            "%": "procent", "°": "graad/graden", "°C": "graad/graden", "km/h": "kilometer per uur",
            "km": "kilometer", "kg": "kilo", "cm": "centimeter", "mm": "millimeter", "m2": "vierkante meter",
            "min": "minuut/minuten", "MB": "megabyte", "GB": "gigabyte",
        },
        abbreviations={
            "dhr": "de heer", "mevr": "mevrouw", "mw": "mevrouw", "dr": "dokter", "nr": "nummer", "enz": "enzovoort",
            "bijv": "bijvoorbeeld", "bv.": "bijvoorbeeld", "t/m": "tot en met", "d.w.z": "dat wil zeggen",
            "o.a": "onder andere", "ca": "circa", "tel": "telefoon", "incl": "inclusief", "excl": "exclusief",
        },
        ordinals="ste|de|e", hour="uur", old_years=True,
    ),
    "hi": Lexicon(
        letters="ए बी सी डी ई एफ़ जी एच आई जे के एल एम एन ओ पी क्यू आर एस टी यू वी डब्ल्यू एक्स वाई ज़ेड",
        months="जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
        symbols={".": "दशमलव", "&": "और", "+": "प्लस", "@": "ऐट", "-": "माइनस"},
        address={".": "डॉट", "-": "डैश", "_": "अंडरस्कोर", "/": "स्लैश"},
        units={
            "₹": "रुपया/रुपये/पैसे", "€": "यूरो/यूरो/सेंट", "$": "डॉलर/डॉलर/सेंट", "£": "पाउंड/पाउंड/पेंस",
            "%": "प्रतिशत", "°": "डिग्री", "°C": "डिग्री",
        },
        abbreviations={"डॉ": "डॉक्टर", "श्री.": "श्री"},
        ordinals="वां|वाँ|वीं|वें", decimals_by_digit=True,
    ),
    "ar": Lexicon(
        letters="إيه بي سي دي إي إف جي إتش آي جي كي إل إم إن أو بي كيو آر إس تي يو في دبليو إكس واي زد",
        months="يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
        symbols={".": "فاصلة", ",": "فاصلة", "&": "و", "+": "زائد", "@": "آت", "-": "ناقص"},
        address={".": "دوت", "-": "شرطة", "_": "شرطة سفلية", "/": "سلاش"},
        units={
            "€": "يورو/يورو/سنت", "$": "دولار/دولار/سنت", "£": "جنيه/جنيه/بنس", "%": "بالمئة", "°": "درجة",
            "°C": "درجة",
        },
        minutes_after="و", cents_after="و", decimals_by_digit=True,
    ),
}  # fmt: skip
