"""What usually is news, as phrases: orders won, targets missed, plants closed, what courts and regulators decide."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from qts.market.sentiment.tokens import Tokens

_DEAL = (
    r"(?:orders?|contracts?|deals?|tender|bid|permits?|approval|patents?|awards?|prizes?|mandate|licen[cs]es?|nod|clearance|"
    r"status|designation|go-ahead|accreditation|certification|concession)"
)
_PACT = r"(?:contracts?|agreements?|deals?|partnership|cooperation|co-operation|letter of intent|memorandum|order)"
_MONEY = (
    r"(?:acquire|acquisition|sell|selling|divest|buy|buying|lease|rent|loan|credit|facility|financing|transfer|"
    r"shareholder|merger|sale|stake|takeover|tender offer)"
)
_NO_LEASE = r"(?<!lease agreement)(?<!rental agreement)(?<!loan agreement)(?<!lease contract)"
_PEOPLE = (
    r"(?:jobs?|workers|employees|staff|personnel|workforce|people|posts|positions|man-years)\b(?! (?:cost|expens))"
)
_EXPECTED = r"(?:expect(?:ed|ations?)|forecasts?|estimates?|estimated|consensus|guidance|anticipated|street)"
_WORKS = (
    r"(?:plants?|factory|factories|mill|mills|units?|site|sites|office|offices|store|stores|shop|line|machine|"
    r"foundry|smelter|refinery|mine|shipyard|bakery|warehouse|depot|branch|branches)"
)
_YEAR_BEFORE = (
    r"(?: (?:that|those) of #|(?: the)? (?:# level|level (?:of|in) #)|"
    r"(?: the| that| those| level| of| in| its| their){0,4} "
    r"(?:last|previous|prior|preceding|corresponding) (?:year|quarter|period|month|season)|"
    r" (?:the|a) year (?:before|ago|earlier))"
)
_LONG = r"[^;.]{0,25}\b(?:ever|on record|since|in (?:its|the company's|our) history|in (?:\w+|#|more than \w+) years)\b"
_TAKEN = r"(?:acquisition|sale|deal|divestment|purchase|merger|transaction)"
_PENALTY = r"(?:fines?|duty|duties|tariffs?|ban)"
_GOALS = r"(?:endpoints?|goals?|targets?|objectives?)"
_IMPAIRMENT = r"(?:impairments?|write-?downs?|write-?offs?|writeoffs?|restructuring charges?)"
#: What analysts say of a share.
_SELL, _HOLD, _BUY = (
    "sell reduce underperform underweight",
    "hold neutral in-line market-perform equal-weight",
    "buy outperform overweight accumulate",
)
_UNDER, _MIDDLE, _OVER = (f"(?:{'|'.join(words.split())})" for words in (_SELL, _HOLD, _BUY))


@dataclass(frozen=True)
class Event:
    """One of some words, and what follows it; it counts once in a text.

    Attributes:
        first: the words, of which a text must hold one before the pattern is tried.
        pattern: of words joined by blanks; numbers are `#`.
    """

    first: frozenset[str]
    pattern: re.Pattern[str]
    worth: float


def _event(worth: float, first: str, rest: str = r"\b") -> Event:
    words = frozenset(first.split())
    return Event(words, re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(words)))}){rest}"), worth)


_EVENTS = (
    # orders and contracts
    _event(
        1.0,
        "won wins win winning awarded secured secures landed lands received receives receiving obtained obtains bagged "
        "bags got clinched clinches granted gets nets scoops garners nabs",
        rf"\b[^;.]{{0,60}}\b{_DEAL}\b",
    ),
    _event(
        0.8,
        "order orders contract contracts deal deals tender bid permit permits approval patent patents award mandate "
        "licence license",
        r"\b[^;.]{0,25}\b(?:was|were|been|is) (?:won|awarded|granted|placed)\b",
    ),
    _event(
        0.6, "agreed agrees", r" on (?:an? )?(?:\w+ ){0,2}(?:cooperation|co-operation|partnership|alliance|contract)\b"
    ),
    _event(0.6, "awarded", r"(?:(?<=was awarded)|(?<=were awarded)|(?<=been awarded))\b"),
    _event(0.5, "new", r" customers?\b"),
    _event(0.6, "won wins gained gains landed lands attracted attracts", r"\b[^;.]{0,30}\b(?:customers?|clients?)\b"),
    _event(
        0.6,
        "contract agreement deal partnership cooperation co-operation",
        r"\b[^;.]{0,40}\b(?:was|were|been) (?:extended|renewed|expanded|prolonged)\b",
    ),
    _event(0.7, "placed places placing", r"\b[^;.]{0,20}\border"),
    _event(0.6, "supply deliver provide", rf"\b[^;.]{{3,80}}\bunder an? [^;.]{{0,25}}{_PACT}\b"),
    _event(
        0.7,
        "sign signs signed signing inked inks concluded enters entered sealed seals",
        rf"\b(?![^;.]*\b{_MONEY}\b)[^;.]{{0,60}}\b{_PACT}\b",
    ),
    _event(
        0.6,
        "contract contracts agreement agreements deal deals partnership cooperation co-operation letter memorandum "
        "order",
        rf"\b{_NO_LEASE}(?![^;.]*\b{_MONEY}\b)[^;.]{{0,120}}(?<!to have )\b(?:was|were|been|is) signed\b",
    ),
    _event(0.8, "contract order deal project tender", r" wins?\b"),
    _event(0.7, "contract order deal", r"\b[^;.]{0,20}\b(?:largest|biggest)\b[^;.]{0,40}\b(?:history|ever|date|far)\b"),
    _event(
        0.8,
        "selected chosen picked chose appointed selects chooses picks",
        r"\b(?: by\b|[^;.]{0,40}\b(?:supplier|supply|deliver|provide|partner))",
    ),
    _event(
        0.6,
        "extend extends extended renew renews renewed expand expands expanded deepen deepens deepened",
        r"\b[^;.]{0,30}\b(?:contract|agreement|cooperation|co-operation|partnership|alliance)\b",
    ),
    _event(-0.7, "end ends ended ending", r" (?:\w+ ){0,3}(?:cooperation|co-operation|partnership|collaboration)\b"),
    _event(-0.8, "called calls", r" off\b"),
    _event(-0.7, "called calls", r" back #"),
    _event(-0.6, "turned turns", r" down\b"),
    # against what was expected, or against the year before
    _event(
        1.2,
        "above better ahead exceed exceeds exceeded exceeding beat beats beating topped topping tops surpass surpasses "
        "surpassed surpassing",
        rf"\b(?:(?<=better) than|(?<=ahead) of|(?<!better)(?<!ahead))\b[^;.]{{0,40}}\b{_EXPECTED}",
    ),
    _event(
        -1.4,
        "below short worse lower less miss misses missed missing",
        rf"\b(?:(?<=short) of|(?<=worse|lower) than|(?<=less) than|(?<!short)(?<!worse|lower)(?<!less))\b"
        rf"[^;.]{{0,40}}\b{_EXPECTED}",
    ),
    _event(0.9, "above ahead", rf"(?:(?<=ahead) of)?{_YEAR_BEFORE}"),
    _event(0.6, "more", rf" than(?:{_YEAR_BEFORE}| in #)"),
    _event(-0.6, "less", rf" than(?:{_YEAR_BEFORE}| in #)"),
    _event(0.8, "revised revises revising adjusted adjusts", r"\b[^;.]{0,40}\bup(?:wards?)?\b"),
    _event(-0.8, "revised revises revising adjusted adjusts", r"\b[^;.]{0,40}\bdown(?:wards?)?\b"),
    _event(-0.9, "below under", _YEAR_BEFORE),
    _event(1.0, "meets met achieved achieves", rf"\b[^;.]{{0,30}}\b(?:primary|main|secondary|key) {_GOALS}\b"),
    _event(0.8, "meets met reached reaches achieved achieves", rf" (?:its|their|the|all)(?: \w+){{0,2}} {_GOALS}\b"),
    _event(-1.0, "miss misses missed", rf"\b[^;.]{{0,30}}\b{_GOALS}\b"),
    _event(-1.0, "not didn't fail fails failed", rf" (?:to )?(?:meet|reach|achieve|hit)\b[^;.]{{0,40}}\b{_GOALS}\b"),
    _event(0.9, "all-time record", r" (?:high|sales|profit|result|year|quarter|level|order|orders|earnings)\b"),
    _event(-0.9, "all-time record year", r" low\b"),
    _event(0.5, "best highest strongest", rf" {_LONG}"),
    _event(-0.5, "lowest", rf" {_LONG}"),
    _event(0.6, "ahead earlier sooner", r" (?:of|than) (?:schedule|plan|planned|promised|budget)\b"),
    _event(-0.6, "behind later over", r" (?:of |than )?(?:schedule|planned|promised|budget)\b"),
    # profits and losses
    _event(1.0, "back return returns returned returning", r" (?:\w+ ){0,4}(?:to|in) (?:profit\w*|the black|growth)\b"),
    _event(1.0, "turn turns turned turning", r" (?:to )?(?:a )?(?:# )?profit\b"),
    _event(
        -1.2,
        "swung slipped fell turned moved plunged sank swing swings slips falls turns plunges sinks",
        r" (?:in)?to (?:an? )?[^;.]{0,30}\bloss",
    ),
    _event(-0.8, "in into", r" the (?:red|minus)\b"),
    _event(0.8, "now again was", r" in profit\b"),
    _event(0.6, "broke broken breaks break breaking", r" even\b"),
    _event(0.9, "pass passes passed passing", r" on [^;.]{0,25}\b(?:costs?|prices?)\b"),
    _event(-1.0, "default defaults defaulted defaulting", r" on\b"),
    _event(-0.8, "red", r" ink\b"),
    _event(
        -0.9,
        "withdrew withdraw withdraws withdrawn withdrawing",
        r"\b[^;.]{0,30}\b(?:guidance|outlook|forecasts?|from the market)\b",
    ),
    _event(-0.9, "qualified", r" opinion\b"),
    _event(-0.7, "price", r" wars?\b"),
    _event(-1.2, "profit", r" (?:warning|alert)\b"),
    _event(
        -0.8,
        "book books booked booking take takes taking took record records recorded recording recognise recognised "
        "recognises recognize recognized recognizes post posts posted",
        rf"\b[^;.]{{0,40}}\b{_IMPAIRMENT}\b",
    ),
    _event(
        -0.8,
        "wipe wipes wiped wiping eat eats ate eating",
        r" (?:out|into)\b[^;.]{0,40}\b(?:profits?|margins?|gains?|earnings|value)\b",
    ),
    _event(-0.7, "hit", r" (?:hard )?by\b"),
    _event(-0.7, "hit hits hitting", r" (?:\w+ ){0,2}(?:profits?|sales|earnings|margins?|demand|results?|business)\b"),
    _event(
        0.8,
        "hit hits set sets reached reaches",
        r" (?:a |an |another |new |its ){0,2}(?:all-time |record )?(?:record|highs?)\b",
    ),
    _event(0.8, "upper", r" circuit\b"),
    _event(-0.8, "lower", r" circuit\b"),
    _event(-0.9, "shares stock", r" (?:tank|crash|nosedive|crater)(?:s|ed)?\b"),
    _event(0.7, "reversed reverses reversal", rf"\b[^;.]{{0,20}}\b{_IMPAIRMENT}\b"),
    _event(0.7, "impairment impairments write-down write-downs", r"\b[^;.]{0,40}\b(?:was|were|been) reversed\b"),
    _event(-0.7, "weigh weighs weighed weighing", r" (?:down |heavily )?on\b"),
    _event(0.6, "extra special", r" dividend\b"),
    _event(-0.6, "no omit omits omitted skip skips skipped", r" (?:\w+ )?dividend\b"),
    _event(-0.6, "not", r" (?:be )?(?:pay|paid|paying|distribut\w+|propos\w+) (?:\w+ ){0,2}dividends?\b"),
    _event(0.7, "cost", r" (?:savings?|efficien\w+|effective\w*)\b"),
    _event(0.7, "cost-saving cost-savings cost-efficient cost-efficiency cost-effective cost-effectively"),
    _event(0.7, "save saves saving savings", r"\b[^;.]{0,30}\b(?:costs?|energy|fuel|time)\b"),
    _event(-0.3, "due", r" to\b[^;.]{0,30}\b(?:weak|lower|crisis|decreas\w+|declin\w+)\b"),
    # people and works
    _event(-1.2, "lay lays laying laid", r" off\b"),
    _event(-1.2, "made make making", r" redundant\b"),
    _event(-1.0, "notice", rf" to [^;.]{{0,20}}\b{_PEOPLE}"),
    _event(-0.9, "jobs posts positions", r"\b[^;.]{0,40}\b(?:disappear|vanish|moved|at risk|under threat)\b"),
    _event(-0.8, "wound", r" up\b"),
    _event(-0.8, "write writes writing wrote written", r" (?:off|down)\b"),
    _event(-1.2, "temporary", r" lay-?offs?\b"),
    _event(
        -1.0,
        "cut cuts cutting axe axes axed axing shed sheds shedding dismiss dismisses dismissed dismissing slash slashes "
        "slashed slashing reduce reduces reduced reducing reduction reductions eliminate eliminates eliminated",
        rf"\b[^;.]{{0,40}}\b{_PEOPLE}",
    ),
    _event(
        -0.7,
        "personnel codetermination co-determination employee statutory cooperation co-operation",
        r" negotiations\b",
    ),
    _event(
        0.5,
        "recruit recruits recruited recruiting hire hires hired hiring recruitment",
        r"\b(?:[^;.]{0,30}\b(?:more|new|additional|people|employees|staff)\b| (?:some |about |up to )?# )",
    ),
    _event(0.5, "take takes taking took", rf" on [^;.]{{0,20}}\b{_PEOPLE}"),
    _event(
        -0.8,
        "close closes closed closing closure shut shuts shutting mothball mothballs mothballed",
        rf"\b(?![^;.]{{0,30}}\b{_TAKEN}\b)[^;.]{{0,30}}\b{_WORKS}\b",
    ),
    _event(
        -0.8,
        "plant plants factory factories mill mills unit units site sites office offices store stores shop line machine",
        r"\b[^;.]{0,40}\b(?:be|been|is|was|were) (?:closed|shut|mothballed)\b",
    ),
    _event(
        0.6,
        "restart restarts restarted resume resumes resumed",
        rf"\b[^;.]{{0,30}}\b(?:production|operations|output|deliveries|dividends?|flights|{_WORKS})\b",
    ),
    _event(0.6, "production plant mill factory mine operations", r"\b[^;.]{0,40}\b(?:restart|resume)(?:s|d|ed)?\b"),
    _event(0.7, "back return returns returned", r" to normal\b"),
    _event(-0.7, "break breaks broke broken", r" down\b"),
    _event(0.5, "open opens opened opening", r" (?:up|the door)\b"),
    _event(0.5, "free frees freed freeing", r" up\b"),
    _event(-0.7, "stand stands stood standing", r" (?:idle|empty|still)\b"),
    _event(-0.6, "late", r"(?:(?<=are late)|(?<=was late)|(?<=were late)|(?<=running late))\b"),
    _event(-0.5, "too", r" (?:high|low|few|many|little|much|slow|expensive|late)\b"),
    _event(0.6, "full", r" capacity\b"),
    _event(0.6, "create creates created creating", r"\b[^;.]{0,20}\bjobs\b"),
    _event(
        0.5,
        "invest",
        r"\b[^;.]{0,40}\b(?:capacity|production|growth|plant|mill|factory|line|technology|development|business)\b",
    ),
    # standing in the market
    _event(
        0.6,
        "become becomes became becoming create creates",
        r"\b[^;.]{0,30}\b(?:largest|biggest|leader|leading|number one)\b",
    ),
    _event(0.7, "named ranked voted rated", r" (?:\w+ ){0,3}(?:best|top)\b"),
    _event(0.6, "make makes", r"\b[^;.]{0,40}\bthe (?:largest|biggest|leading|market leader|lowest-cost)\b"),
    _event(0.6, "gain gains gained", r" (?:\w+ ){0,2}foothold\b"),
    _event(
        0.5,
        "support supports supported supporting complement complements",
        r"\b[^;.]{0,20}\b(?:strategy|growth|expansion|position)\b",
    ),
    _event(0.5, "sold", r" out\b"),
    _event(
        0.5,
        "perform performs performed performing develop develops developed developing progress progresses "
        "progressed progressing go goes going gone went start starts started sell sells selling sold hold holds held",
        r" (?:up )?(?:very |quite )?well\b",
    ),
    _event(0.7, "pick picks picked picking", r" up\b"),
    # courts, regulators, raters, creditors
    _event(
        0.8,
        "approved approves cleared clears",
        r"(?<!be approved)(?<!be cleared)\b[^;.]{0,40}\b(?:drug|medicine|treatment|therapy|vaccine|device)s?\b",
    ),
    _event(
        0.8,
        "fda usfda eu ema regulator regulators commission authority authorities watchdog",
        r"\b[^;.]{0,25}\b(?<!be )(?:approves|approved|clears|cleared|green-lights)\b",
    ),
    _event(
        0.8,
        "dismissed dismisses dismiss tossed tosses threw throws rejected rejects",
        r"(?: out)?\b[^;.]{0,15}\b(?:claims?|suits?|lawsuits?|case|complaints?|charges)\b",
    ),
    _event(0.7, "give gives gave given", r"\b[^;.]{0,20}\b(?:go-ahead|green light)\b"),
    _event(0.6, "well", r" (?:tolerated|received)\b"),
    _event(0.7, "recommend recommends recommended backs backed", r"\b[^;.]{0,30}\bapproval\b"),
    _event(
        0.9,
        "overturned overturns overturn quashed quashes annulled annuls",
        r"\b[^;.]{0,40}\b(?:fines?|ruling|verdict|penalt(?:y|ies)|ban|award|sentence)\b",
    ),
    _event(-0.7, "demand demands demanded demanding seeks claims", r"\b[^;.]{0,40}\bcompensation\b"),
    _event(-1.0, "ordered", r"\b[^;.]{0,30}\bto (?:pay|repay|refund|compensate)\b"),
    _event(-0.8, "pay pays paid paying", r"\b[^;.]{0,25}\bfines?\b"),
    _event(-0.8, "impose imposes imposed propose proposes proposed faces facing", rf"\b[^;.]{{0,25}}\b{_PENALTY}\b"),
    _event(
        -0.9, "bars", r"\b[^;.]{3,50}\bfrom (?:the )?(?:securities|capital|markets?|trading|bidding|selling|raising)\b"
    ),
    _event(0.9, "recommend recommends recommended", r" (?:to )?(?:buy|buying|accumulat\w+)\b"),
    _event(-0.9, "recommend recommends recommended", r" (?:to )?(?:sell|selling|reduc\w+)\b"),
    _event(0.9, _BUY, rf" from (?:{_MIDDLE}|{_UNDER})\b"),
    _event(0.7, "premium", r" (?:of # )?(?:to|over)\b"),
    _event(0.7, "top", r" picks?\b"),
    _event(0.9, "coverage initiated initiates", rf"\b[^;.]{{0,40}}\bwith [^;.]{{0,10}}\b{_OVER}\b"),
    _event(-0.9, "coverage initiated initiates", rf"\b[^;.]{{0,40}}\bwith [^;.]{{0,10}}\b{_UNDER}\b"),
    _event(0.9, "raises raised lifts lifted", r"\b[^;.]{0,40}\bto (?:overweight|outperform|buy(?: from| ?$| \.))"),
    _event(
        -0.9,
        "cuts cut lowers lowered",
        r"\b[^;.]{0,40}\bto (?:underweight|underperform|neutral|hold|sell)(?: from| ?$| \.)",
    ),
    _event(0.9, f"hold neutral {_SELL}", rf" to {_OVER}\b"),
    _event(-0.9, _BUY, rf" to (?:{_MIDDLE}|{_UNDER})\b"),
    _event(-0.9, "hold neutral", rf" to {_UNDER}\b"),
    _event(0.9, "stable", r" from negative\b"),
    _event(-0.9, "stable", r" from positive\b"),
    _event(0.9, _HOLD, rf" from {_UNDER}\b"),
    _event(-0.9, _HOLD, rf" from {_OVER}\b"),
    _event(-0.9, _SELL, rf" from (?:{_MIDDLE}|{_OVER})\b"),
    _event(-1.2, "filed files filing", r" for (?:chapter|creditor|administration)\b"),
    _event(-0.4, "concern concerns concerned", r" (?:over|about|that|at)\b"),
    _event(-1.2, "into", r" (?:administration|receivership|liquidation)\b"),
    _event(-1.2, "going", r" concern\b"),
    _event(-1.2, "bad", r" debts?\b"),
    _event(-1.2, "class", r" action\b"),
    _event(-1.0, "creditor", r" protection\b"),
    _event(-0.7, "put puts putting", r"\b[^;.]{0,40}\b(?:at risk|in jeopardy|in doubt|on ice|on hold)\b"),
)

_BY_WORD: dict[str, list[Event]] = defaultdict(list)
for _one in _EVENTS:
    for _word in _one.first:
        _BY_WORD[_word].append(_one)


def events(tokens: Tokens) -> Iterator[tuple[int, float]]:
    """The events of a text, as (token, worth)."""
    tried = {id(event): event for word in tokens.words for event in _BY_WORD.get(word, ())}
    if not tried:
        return
    flat = " ".join(tokens.words)
    for event in tried.values():
        if found := event.pattern.search(flat):
            yield flat.count(" ", 0, found.start()), event.worth
