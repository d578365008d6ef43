"""The words of figures, exercises and pages in another language, from one catalogue in gettext's form.

English is the source: until a language is chosen, by `use` or in the environment as METACALC_LANGUAGE, every text is as the
code has it. Formulas and numbers stay what they are.
"""

from __future__ import annotations

import gettext
import html
import os
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["listed", "reworded", "spoken", "t", "template", "use"]

LOCALE = Path(__file__).with_name("locale")
# What matplotlib writes of a text: itself in a comment, shapes that other texts use too, and the letters as uses of these.
_PAINTED = re.compile(r"<!-- (?P<words>[^<>]+?) -->(?P<open>\s*<g [^>]*>\s*)(?P<shapes>(?:<defs>.*?</defs>\s*)*)"
                      r"(?P<uses>(?:<use [^>]*/>\s*)+)", re.DOTALL)
_SVG_TEXT = re.compile(r"(?<=>)[^<>]+(?=</text>)")
_NUMBER = r"[−+]?\d[\d.]*(?:e[−+]?\d+)?|−?∞|not a number"
_COUNT = re.compile(r"[−+]?\d(?:[\d.,]*\d)?(?:e[−+]?\d+)?")
_DATA = 60  # different labels are no longer words of ours

_catalogue: gettext.NullTranslations


def use(language: str | None) -> None:
    """Choose the language of what is made from now on.

    Parameters
    ----------
    language : str or None
        As `zh_CN`; a language without a catalogue, or None, is English.
    """
    global _catalogue
    _catalogue = gettext.translation("metacalc", LOCALE, [language or "en"], fallback=True)


use(os.environ.get("METACALC_LANGUAGE"))


def t(text: str, /, **values: Any) -> str:
    """A text in the chosen language, its fields filled as `str.format` does.

    Parameters
    ----------
    text : str
        The English one.
    **values
        For its fields; where there are none, braces are letters like others.

    Returns
    -------
    str

    Examples
    --------
    >>> t("Entry {i}: {reason}", i=2, reason="the sign is wrong")
    'Entry 2: the sign is wrong'
    """
    found = _catalogue.gettext(text) if text else text
    return found.format(**values) if values else found


def listed(names: Iterable[str]) -> str:
    """Names one after the other, as the chosen language separates them.

    Parameters
    ----------
    names : iterable of str

    Returns
    -------
    str

    Examples
    --------
    >>> listed(["h", "theta"])
    'h, theta'
    """
    return t(", ").join(names)


def reworded(text: str, say: Callable[[str], str] = t) -> str:
    """A text that a program has made, in the chosen language: the catalogue has it with {} in place of every number.

    Parameters
    ----------
    text : str
    say : callable
        From an English text to what is said in its place.

    Returns
    -------
    str

    Examples
    --------
    >>> reworded(" 36.4% lost", lambda text: {"{}% lost": "{}% verloren"}[text])
    ' 36.4% verloren'
    """
    bare = text.strip()
    numbers = iter(_COUNT.findall(bare))
    said = say(_COUNT.sub("{}", bare))
    return text.replace(bare, re.sub(r"\{\}", lambda _: next(numbers), said)) if bare else text


def template(segments: Iterable[Sequence[str | None]]) -> str:
    """A readout's segments (`metacalc.spec.Readout`) as one text, which can be translated as a whole.

    Parameters
    ----------
    segments : iterable of [text, field or None, format]

    Returns
    -------
    str

    Examples
    --------
    >>> template([["After ", "n", "d"], [" steps θ = ", "theta", ".4g"], [".", None, ".4g"]])
    'After {n:d} steps θ = {theta}.'
    """
    written = ""
    for text, name, how in segments:
        written += str(text).replace("{", "{{").replace("}", "}}")
        written += "" if name is None else f"{{{name}}}" if how == ".4g" else f"{{{name}:{how}}}"
    return written


def spoken(state: dict[str, Any], say: Callable[[str], str] = t) -> dict[str, Any]:
    """The state of a live figure with all that is read in the chosen language; numbers, marks and places are shared.

    Parameters
    ----------
    state : dict
        With "spec" and "pictures", as `Stage` has them and `metacalc.axes.painted` gives them.
    say : callable
        From a text to what is said in its place.

    Returns
    -------
    dict
    """
    if say is t and not isinstance(_catalogue, gettext.GNUTranslations):
        return state
    spec = state["spec"]
    sliders = [slider | {"label": say(slider["label"]), "unit": say(slider["unit"]), "names": _relabelled(slider["names"], say)}
               for slider in spec["sliders"]]
    marks = [mark | {key: say(mark[key]) for key in ("name", "toggle") if key in mark} for mark in spec["marks"]]
    fields = {name: field | ({"labels": _relabelled(field["labels"], say)} if "labels" in field else {})
              for name, field in spec["fields"].items()}
    told = say(template(spec["readout"]))
    readout = [[text, name, how or ".4g"] for text, name, how, _ in string.Formatter().parse(told)]
    made = spec | {"alt": say(spec["alt"]), "sliders": sliders, "marks": marks, "fields": fields, "readout": readout,
                   "text": _retold(spec, readout, say)}
    if "guess" in spec:
        made["guess"] = spec["guess"] | {"question": say(spec["guess"]["question"])}
    return state | {"spec": made, "pictures": [_repainted(picture, say) for picture in state["pictures"]]}


def _relabelled(labels: list[str], say: Callable[[str], str]) -> list[str]:
    """Labels in other words, but samples of data as they are."""
    words = {_COUNT.sub("{}", label) for label in labels}
    return [reworded(label, say) for label in labels] if len(words) <= _DATA else labels


def _retold(spec: dict[str, Any], readout: Iterable[Sequence[Any]], say: Callable[[str], str]) -> str:
    """The readout at the start in other words: what its fields say is read off the English one."""
    labels = {name: sorted(field["labels"], key=len, reverse=True) for name, field in spec["fields"].items()
              if "labels" in field}
    pattern, places = "", []
    for text, name, how in spec["readout"]:
        pattern += re.escape(text)
        if name is not None:
            places.append((name, how))
            pattern += f"({'|'.join(map(re.escape, labels[name]))})" if name in labels else (
                "(s?)" if how == "s" else f"({_NUMBER})")
    found = re.fullmatch(pattern, spec["text"])
    if found is None:
        raise ValueError(f"text must be the readout at the start, got {spec['text']!r}")
    fields = {name: dict(zip(field["labels"], _relabelled(field["labels"], say)))
              for name, field in spec["fields"].items() if "labels" in field}
    values = {place: fields.get(place[0], {}).get(value) or say(value) for place, value in zip(places, found.groups())}
    return "".join(text + ("" if name is None else values[name, how]) for text, name, how in readout)


def _repainted(picture: str, say: Callable[[str], str]) -> str:
    """An SVG with its texts in other words: letters of the page's font where matplotlib has drawn shapes."""
    legend = picture.find("stage-legend")

    def write(found):
        words = html.unescape(found["words"])
        said = say(words)
        if said == words:
            return found[0]
        # The group's unit is a hundredth of the font's size, its y points upwards; in a legend texts begin at one place.
        ends = [float(x) for x in re.findall(r'transform="translate\(([\d.]+) ', found["uses"])] or [0.0]
        place = 'x="0"' if -1 < legend < found.start() else f'x="{ends[-1] / 2 + 30:.0f}" text-anchor="middle"'
        return (f'<!-- {html.escape(said)} -->{found["open"]}{found["shapes"]}<text {place} transform="scale(1 -1)" '
                f'font-size="100">{html.escape(said)}</text>\n')

    picture = _PAINTED.sub(write, picture)
    return picture if "DejaVu Sans, Verdana" not in picture else _SVG_TEXT.sub(  # painted by `metacalc.axes`
        lambda found: html.escape(say(html.unescape(found[0]))), picture)
