"""Formulas in text, as one types or writes them: parsed over a list of what is allowed, and never evaluated as code.

`2xy`, `x^2`, `×`, `lambda`, Greek letters and `(461, 65)` are read as they are meant. What is not on the list, too long, too
deep or has numbers too large to be worked out is refused.
"""

import ast
import numbers
import operator
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import sympy as sp

from metacalc.words import t

__all__ = ["FUNCTIONS", "GREEK", "named", "parsed", "sympified"]

LONGEST, DEEPEST, DIGITS = 500, 40, 1000  # letters, brackets, and digits of a number that is worked out
#: The functions that a formula in text may name.
FUNCTIONS = {
    "sqrt": sp.sqrt, "exp": sp.exp, "log": sp.log, "ln": sp.log, "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "cot": sp.cot,
    "asin": sp.asin, "arcsin": sp.asin, "acos": sp.acos, "arccos": sp.acos, "atan": sp.atan, "arctan": sp.atan, "sinh": sp.sinh,
    "cosh": sp.cosh, "tanh": sp.tanh, "asinh": sp.asinh, "acosh": sp.acosh, "atanh": sp.atanh, "abs": sp.Abs, "Abs": sp.Abs,
    "sign": sp.sign, "floor": sp.floor, "ceil": sp.ceiling, "ceiling": sp.ceiling, "max": sp.Max, "Max": sp.Max, "min": sp.Min,
    "Min": sp.Min, "erf": sp.erf, "gamma": sp.gamma, "factorial": sp.factorial,
    "binomial": sp.binomial, "Rational": lambda p, q=1: p / q, "O": sp.Order, "cbrt": lambda u: u ** sp.Rational(1, 3),
}
CONSTANTS = {"pi": sp.pi, "π": sp.pi, "e": sp.E, "E": sp.E}
#: Greek letters by their names.
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ", "kappa": "κ",
    "lambda": "λ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω",
}
_WRITTEN = {"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "^": "**", "ϕ": "φ", "ϵ": "ε", "½": "(1/2)",
            "¼": "(1/4)"}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TOKEN = re.compile(r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)"
                    r"|(?P<sign>\*\*|[-+*/(),\[\]|√])|(?P<other>\S))")
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def named(symbols: Iterable[sp.Symbol]) -> dict[str, sp.Symbol]:
    """The symbols by the names that one may write: as in code, or in Greek as in the text.

    Parameters
    ----------
    symbols : iterable of sympy.Symbol
        What may be written.

    Returns
    -------
    dict of str: sympy.Symbol
        Every way to write one.

    Examples
    --------
    >>> sorted(named([sp.Symbol("lambda_max"), sp.Symbol("theta_0")]))
    ['lambda_max', 'theta0', 'theta_0', 'θ0', 'θ_0', 'λ_max']
    """
    names = {s.name: s for s in symbols}
    for symbol in symbols:
        for word, letter in GREEK.items():
            if re.match(rf"{word}(?=_|\d|$)", symbol.name):
                names.setdefault(letter + symbol.name[len(word):], symbol)
                names.setdefault("lambda" + symbol.name[len(word):] if word == "lam" else symbol.name, symbol)
    for name, symbol in list(names.items()):  # "θ₀", whose digit has become one of the line
        names.setdefault(re.sub(r"_(?=\d+$)", "", name), symbol)
    return names


def parsed(text: str, symbols: Iterable[sp.Symbol] = ()) -> sp.Expr | tuple[sp.Expr, ...]:
    """A formula, or a tuple of formulas, in text.

    Parameters
    ----------
    text : str
        As in Python or as in the text: θ², 2θ, sin x.
    symbols : sequence of sympy.Symbol
        What its names stand for. Any other name becomes a symbol of its own, unless it is a product of these: `xy`.

    Returns
    -------
    sympy.Expr or tuple of sympy.Expr
        The formula, or a tuple where commas separate several.

    Raises
    ------
    ValueError
        If it is no formula, with what is wrong and where.

    Examples
    --------
    >>> x, y, lam = sp.symbols("x y lambda")
    >>> parsed("2xy^2 + λ·x", [x, y, lam])
    lambda*x + 2*x*y**2
    >>> parsed("(461, 65)")
    (461, 65)
    >>> parsed("__import__('os')")
    Traceback (most recent call last):
    ValueError: it has the name __import__, which no formula has
    """
    if not isinstance(text, str):
        raise ValueError(f"text must be a formula in text, got {text!r}")
    if not text.strip():
        raise ValueError(t("it is empty"))
    if len(text) > LONGEST:
        raise ValueError(t("it is longer than {n} letters", n=LONGEST))
    known = named(symbols)
    code, names = _code(_tokens(text), known)
    try:
        tree = ast.parse(code, mode="eval")
    except (SyntaxError, MemoryError, RecursionError, ValueError):
        raise ValueError(t("it cannot be read as a formula: look at its brackets and signs")) from None
    return _built(tree.body, names, 0)


def sympified(value: Any) -> sp.Basic | sp.MatrixBase:
    """What SymPy makes of an object that is no text: sympify itself would evaluate the text in a dictionary or a list.

    Parameters
    ----------
    value : sympy object, number, or an object with a method `_sympy_`
        What to convert.

    Returns
    -------
    sympy.Basic
        Or a matrix.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if isinstance(value, sp.Basic | sp.MatrixBase):
        return value
    if isinstance(value, numbers.Number | np.generic) and not isinstance(value, bool | np.bool_ | np.str_ | np.bytes_):
        return sp.sympify(value, strict=True)
    made = None
    if hasattr(value, "_sympy_") and not isinstance(value, type):
        made = value._sympy_()  # pyright: ignore[reportAttributeAccessIssue]  (hasattr has seen it)
    if not isinstance(made, sp.Basic):
        raise ValueError(t("it must be a number or a SymPy expression, got {value!r}", value=value))
    return made


def _tokens(text):
    """(kind, text) of each number, name and sign."""
    text = re.sub(r"\b(?:np|numpy)\.u?(?:float|int)\d+(?=\()", "", text)  # as NumPy shows its numbers
    text = re.sub(r"\b(?:np|numpy|sp|sympy|math)\.(?=[^\W\d])", "", text)
    text = re.sub(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: f"**({m.group().translate(_SUPERSCRIPTS)})", text).translate(_SUBSCRIPTS)
    for written, meant in _WRITTEN.items():
        text = text.replace(written, meant)
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "other":
            raise ValueError(t("it has “{sign}”, which no formula has", sign=match["other"]))
        if match.lastgroup:
            yield match.lastgroup, match[match.lastgroup]


def _code(tokens, known):
    """The same as an expression of Python's with a neutral name for each name; and what these stand for."""
    code, names, depth, before = [], {}, 0, None
    bars = 0

    def write(piece, kind):
        nonlocal before
        if before == "function" and kind != "(":
            raise ValueError(t("it has a function without its argument in brackets"))
        starts = kind in ("number", "value", "function", "(")
        if starts and before in ("number", "value", ")"):
            if kind == before == "number":
                raise ValueError(t("it has two numbers with nothing between them"))
            code.append("*")
        code.append(piece)
        before = kind

    for kind, token in tokens:
        if kind == "number":
            names[f"n{len(names)}"] = _number(token)
            write(f"n{len(names) - 1}", "number")
        elif kind == "name":
            for meant in _meant(token, known):
                names[f"n{len(names)}"] = meant
                write(f"n{len(names) - 1}", "function" if _is_function(meant) else "value")
        elif token == "√":
            names[f"n{len(names)}"] = sp.sqrt
            write(f"n{len(names) - 1}", "root")
        elif token == "|":
            closing = bars and before in ("number", "value", ")")
            bars += -1 if closing else 1
            if closing:
                write(")", ")")
            else:
                names[f"n{len(names)}"] = sp.Abs
                write(f"n{len(names) - 1}", "function")
                code.append("(")
                before = "open"
        else:
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token, 0)
            if depth > DEEPEST:
                raise ValueError(t("it has more than {n} brackets within one another", n=DEEPEST))
            opening = token in "(["
            if opening and before in ("function", "root"):  # its argument
                code.append("(")
                before = "open"
            else:
                write("(" if opening else ")" if token in ")]" else token, "(" if opening else ")" if token in ")]" else token)
                before = "open" if opening else before
    return _with_roots(code, names), names


def _with_roots(code, names):
    """√ before a number or a name takes just that."""
    written = []
    for i, piece in enumerate(code):
        bare = i > 0 and names.get(code[i - 1]) is sp.sqrt and piece in names and not _is_function(names[piece])
        written.append(f"({piece})" if bare else piece)
    return "".join(written)


def _is_function(meant):
    return not isinstance(meant, sp.Basic)


def _number(token):
    if len(token) > 50:
        raise ValueError(t("it has a number with more than 50 digits"))
    return sp.Integer(token) if token.isdigit() else sp.Float(token)


def _meant(token, known):
    """What a name stands for: a symbol, a function, a constant, or a product of symbols that are written together."""
    if token in known:
        return [known[token]]
    if token in FUNCTIONS:
        return [FUNCTIONS[token]]
    if token in CONSTANTS:
        return [CONSTANTS[token]]
    if len(token) > 30 or "__" in token:
        raise ValueError(t("it has the name {name}, which no formula has", name=token[:30]))
    parts = _split(token, {n: s for n, s in (CONSTANTS | known).items() if n not in ("E",)})
    return parts or [sp.Symbol(token)]


def _split(token, known):
    """The symbols whose names, one behind the other, make up the token; longest first."""
    if not token:
        return []
    for end in range(len(token), 0, -1):
        if token[:end] in known:
            rest = _split(token[end:], known)
            if rest is not None:
                return [known[token[:end]], *rest]
    return None


def _built(node, names, depth):
    """The expression of a syntax tree, of allowed nodes only."""
    if depth > 3 * DEEPEST:
        raise ValueError(t("it is nested too deep"))
    deeper = lambda part: _built(part, names, depth + 1)
    if isinstance(node, ast.Name) and node.id in names:
        value = names[node.id]
        if _is_function(value):
            raise ValueError(t("it has a function without its argument in brackets"))
        return value
    if isinstance(node, ast.Tuple):
        entries = tuple(map(deeper, node.elts))
        return entries
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _single(deeper(node.operand))
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _single(deeper(node.left)), _single(deeper(node.right))
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATORS:
            return _small(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and 1 <= len(node.args) <= 4:
        return _applied(names.get(node.func.id), [_single(deeper(a)) for a in node.args])
    raise ValueError(t("it cannot be read as a formula"))


def _single(value):
    if isinstance(value, tuple):
        raise ValueError(t("it has a list of numbers where one belongs"))
    return value


def _small(value):
    if value.is_Rational and max(abs(value.p), value.q) > 10**DIGITS:
        raise ValueError(t("it has a number that is too large to work out"))
    return value


def _power(base, exponent):
    """base ** exponent, where that can be worked out."""
    if exponent.is_number:
        size = abs(exponent.evalf(5))
        digits = len(str(max(abs(base.p), base.q))) if base.is_Rational and base not in (0, 1, -1) else 0
        if not size.is_comparable or size > 10**4 or size * digits > DIGITS:
            raise ValueError(t("it has a number that is too large to work out"))
    return base**exponent


def _applied(function, arguments):
    if function is None or not _is_function(function):
        raise ValueError(t("it has brackets behind what is no function"))
    if any(a.is_number and not abs(a.evalf(5)) <= 10**4 for a in arguments):
        raise ValueError(t("it has a number that is too large to work out"))
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(t("it has a function of {n} arguments that takes others", n=len(arguments))) from error
