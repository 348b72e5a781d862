"""The word lists of the finance lexicon. Written for this project, under its licence; no published list was copied.

Every form is spelt out: a stemmer would make "better" of "betterment" and "share" of "shared". A figure is the weight
of a cue; about 1 is a plain statement such as "profit rose", below one half a hint that needs company.
"""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _weights(**by_weight: str) -> dict[str, float]:
    """From `w6="good better"` to {"good": .6, "better": .6}."""
    return {word: int(weight[1:]) / 10 for weight, words in by_weight.items() for word in words.split()}


#: A figure went up or down; good or bad depends on the figure.
UP = word_set(
    "rise rises rose risen rising increase increases increased increasing grow grows grew grown growing climb "
    "climbs climbed climbing jump jumps jumped jumping surge surges surged surging soar soars soared soaring gain "
    "gains gained gaining double doubles doubled doubling triple tripled quadrupled raise raises raised raising "
    "lift lifts lifted lifting boost boosts boosted boosting expand expands expanded expanding accelerate "
    "accelerates accelerated accelerating widen widens widened widening higher growth upturn rebound rebounded "
    "rally rallied exceed exceeds exceeded exceeding multiplied upped uptick swelled peaked hike hiked bigger "
    "larger greater hikes advances advanced leaps leapt leaped spike spiked skyrocket skyrocketed "
    "triples tripling quadruple quadruples quadrupling swells swelling ballooned advancing leaping hiking rebounding "
    "rebounds skyrocketing skyrockets spikes spiking intensify intensifies intensified intensifying swell swollen"
)
DOWN = word_set(
    "fall falls fell fallen falling decrease decreases decreased decreasing decline declines declined declining "
    "drop drops dropped dropping slip slips slipped slipping slump slumps slumped slumping plunge plunges plunged "
    "plunging tumble tumbles tumbled tumbling sink sinks sank sunk shrink shrinks shrank shrunk shrinking "
    "diminish diminished diminishing halve halved reduce reduces reduced reducing reduction reductions lower "
    "lowers lowered lowering cut cuts cutting trim trims trimmed trimming slow slows slowed slowing narrow "
    "narrows narrowed narrowing downturn dip dipped slid slides sliding shed sheds dwindled eased eroded smaller "
    "fewer contraction contracted diminishes halves halving dwindle dwindles dwindling plummet "
    "plummets plummeted plummeting dived dives diving tanked ease eases easing erode erodes eroding crumble crumbled "
    "crumbles crumbling dips dipping sinking"
)
#: Changes that need an object that is named: "cut paper", "raise funds" and "double room" are no news.
NEEDS_FIGURE = word_set(
    "cut cuts cutting raise raises raising lift lifts lifting lifted double doubles triple trim trims trimming "
    "narrow shed sheds slow lower expand expands gain bigger larger greater smaller slides sliding sink larger "
    "widen exceed hike trimmed raised growing rising gaining increasing falling declining decreasing expanding "
    "accelerating exceeding dropping slipping sliding reducing lowering hikes spike ease eases easing "
    "triples reduces higher intensify intensifies intensified intensifying"
)

#: What has growth in its name, or plans it.
NAMED_FOR_GROWTH = word_set("company companies fund funds strategy strategies stock stocks index capital equity")

#: Changes as nouns: their figure stands right beside them.
CHANGE_NOUNS = word_set("growth reduction reductions upturn downturn uptick contraction")

#: Figures that should be high.
GOOD = word_set(
    "sales turnover revenue revenues income earnings ebit ebitda eps margin margins order orders backlog demand "
    "volume volumes output production capacity deliveries shipments exports share shares stock stocks dividend "
    "dividends cash result results performance customers subscribers passengers traffic users visitors employment "
    "personnel staff workforce jobs headcount employees efficiency productivity quality competitiveness rating "
    "outlook guidance forecast forecasts estimate estimates target return returns occupancy business activity "
    "exports market markets base utilisation utilization economy index deposits lending premiums assets sale fees "
    "commissions circulation value subscriptions position growth presence awareness popularity recommendation "
    "valuation footfall sector segment division unit surplus payout"
)
PROFIT = word_set("profit profits profitability ebit ebitda eps earnings income pbt")
#: Figures that should be low.
BAD = word_set(
    "cost costs expense expenses expenditure expenditures debt debts liabilities gearing unemployment layoffs "
    "lay-offs writedowns write-downs impairment impairments provisions risk risks emissions consumption delay delays "
    "inflation tax taxes defaults absences accidents churn waste downtime overcapacity competition burden leverage "
    "indebtedness redundancies shortage spending claims interest time vacancy vacancies impaired non-performing npa "
    "npas npl npls problems difficulties complaints defects faults failures errors injuries incidents outages "
    "disruptions bankruptcies insolvencies disputes concerns fears threats strikes defective"
)
LOSS = word_set("loss losses deficit")
#: What is for sale or owned: who holds more of it is neither good nor bad news.
OWNED = word_set("stake stakes holding holdings ownership shareholding capital votes funds money financing")
#: What a company is: "a successful provider" praises, and tells no news.
DESCRIBED = word_set(
    "company companies provider providers supplier suppliers manufacturer manufacturers developer developers producer "
    "retailer operator chain player brand brands"
)
#: Beside "shares": how many there are is no news.
COUNTED = word_set("number outstanding treasury")
#: What follows these belongs to what stands before: "the costs of the unit".
BELONGS = word_set("in of at for on")
WORTH = word_set("value worth price cost")
#: How many work somewhere now and before is no news; that they are laid off is.
PEOPLE = word_set("employees personnel staff persons people headcount")
#: Before "prices": what a company pays, not what it gets.
INPUTS = word_set("raw material materials fuel energy oil electricity input commodity wood pulpwood steel grain feed")

POSITIVE = _weights(
    w3="well top reliable flexible modern effective easy support supports supported enable enables enabling "
    "innovative state-of-the-art cutting-edge user-friendly world-class prestigious acclaimed trusted "
    "expertise prospects potential expansion quicker simpler safer cheaper simplify simplifies",
    w4="smooth smoothly ideal superior stabilise stabilised stabilises stabilize stabilized stabilizes "
    "stabilisation stabilization streamline streamlines streamlined streamlining solid efficient advantage "
    "advantages opportunity opportunities competitive environmentally-friendly high-quality benefit benefits "
    "easier ahead interesting sustainable",
    w5="popular milestone milestones faster savings synergy synergies pleased happy glad satisfied delighted "
    "proud confident optimistic promising attractive encouraging impressive break-even momentum tailwind "
    "tailwinds enhance enhances enhanced enhancing successful successfully success good secured strengthens "
    "productive fruitful rewarding satisfactory well-placed well-positioned uplift rosy bright brighter "
    "brightened praise praised praises",
    w7="better best strong stronger strongest strongly robust healthy favourable favorable favourably positive "
    "positively excellent outstanding profitable benefited breakthrough improve improves improved improving "
    "improvement improvements strengthen strengthened strengthening booming buoyant turnaround revives revived "
    "revival recovered recovery recovering recover lucrative award-winning prize winner outperform "
    "outperformed outperforms beat beats thriving flourishing recovers bullish upbeat brisk strength robustly "
    "resilient resilience stellar exceptional superb blockbuster blowout bumper upswing accretive fastest "
    "outperforming beating benefiting revive reviving undervalued upside oversubscribed boom booms prosper "
    "prosperous thrive thrives",
    w10="upgrade upgraded upgrades record-high record-breaking",
)
NEGATIVE = _weights(
    w3="uncertain uncertainties uncertainty cautious volatile volatility restructuring lack limited",
    w4="concern concerns concerned",  # "it concerns all of them"
    w5="trouble troubles troubled unstable instability insufficient inadequate lag lags lagged lagging refused "
    "refuses invalid forced unwilling inability lacks lacked lacking leak leaked injured killed alarming "
    "worrying unfair tougher fierce fiercer tighter tightening severe severely harsh harsher evacuated delay "
    "delays delaying dilute dilutes downtime stopped alleged allegedly pressure pressures unable fire lost "
    "loses lose investigation probe worry worried worries losing squeeze squeezed challenging tough difficult "
    "difficulty difficulties penalty restructure headwind headwinds subdued muted softer softened softening",
    w7="weak weaker weakest weakly weakness weaken weakened weakening weakens poor poorly worse worst bad problem "
    "problems crisis recession fear fears threat threats adverse adversely unfavourable unfavorable negative "
    "negatively disappointing disappointed disappointment failure failures fail fails failed failing "
    "loss-making unprofitable damage damaged damages harm harmed dispute disputes lawsuit lawsuits sued "
    "litigation fraud penalties sanctions breach violation accused illegal strike strikes accident explosion "
    "defect defects faulty recall recalls shortages delayed postpone postponed postponement suspend suspended "
    "suspension halt halted stoppage shutdown closure closures warning warned warns struggling struggle "
    "struggles suffer suffers suffered suffering hurt slowdown sluggish stagnant stagnated slack deteriorate "
    "deteriorated deteriorating deterioration worsen worsened worsening collapse collapsed crash crashed "
    "pessimistic doubt doubts write-down writedown cancel cancelled canceled cancellation terminate terminated "
    "termination discontinue discontinued abandoned scrapped underperform bearish gloomy bleak loss-maker "
    "dismissed dismissal dismissals oversupply hampered burdened misconduct violated fined cancels cancelling "
    "suspends suspending halts halting terminates terminating discontinues discontinuing abandons abandoning "
    "scraps harms collapses crashes sues suing violates violations breaches breached breaching hampers "
    "underperforms underperformed setback setbacks shortfall shortfalls standstill bottleneck bottlenecks "
    "disruption disruptions disrupted outage outages woes turmoil scandal bribery corruption guilty banned "
    "barred lacklustre lackluster tepid dismal dire grim write-downs writedowns write-off write-offs overdue "
    "arrears ousted sacked objection objections walkout walkouts quit quits hurts cyberattack raided faults "
    "errors injuries struggled deteriorates worsens postpones postponing hamper hampering collapsing crashing "
    "damaging underperforming abandon disappoint disappoints harming sue violate violating warn pressured "
    "soften softens squeezes squeezing downgrading blame blames blamed blaming stagnate stagnating stagnation "
    "stalled stalls stalling stalemate deadlock revoke revoked revokes dent dented dents plagued mired ailing "
    "distressed cash-strapped glut infringe infringes infringed infringement infringing boycott contaminated "
    "contamination scam scamming hacked malfunction breakdown breakdowns furlough furloughed downsize "
    "downsizing jobless crunch unsold unpaid erosion devaluation devalued depressed exodus illegally unlawful "
    "unlawfully cartel collusion lockout lockouts lock-out lock-outs hurting shortage curtail curtails "
    "curtailed curtailing curtailment curtailments short-time survival abuse abused abusing allegations "
    "alleges indicted convicted arrested raid raids badly",
    w10="bankrupt bankruptcy insolvency insolvent downgrade downgraded downgrades layoff layoffs lay-off lay-offs "
    "redundancy redundancies profit-warning job-cuts",
)

NEGATIONS = word_set(
    "no nobody not never without nor neither none cannot hardly didn't doesn't don't won't can't isn't aren't wasn't "
    "weren't hasn't haven't hadn't couldn't wouldn't"
)
BOOSTERS = word_set(
    "significantly sharply strongly considerably substantially markedly clearly very highly heavily dramatically "
    "remarkably exceptionally extremely steeply notably"
)
DAMPENERS = word_set(
    "slightly somewhat marginally moderately little partly modestly slight modest marginal fractionally"
)
UNCERTAIN = word_set(
    "may might could possibly perhaps probably likely unlikely uncertain uncertainty approximately if "
    "whether expects expected estimates estimated believes assume assumes plans considering potential possible "
    "risk risks depends depending seems appears should would"
)
#: Of these, the ones that take weight from the next cue.
MODALS = word_set("may might could possibly perhaps unlikely if whether")

MONTHS = word_set(
    "january february march april may june july august september october november december jan feb mar apr jun "
    "jul aug sep sept oct nov dec"
)

#: Behind these "-ing" is a verb: "rents kept rising", unlike "rising rents".
GOES_ON = word_set(
    "is are was were been be kept keep keeps keeping continue continued start started starts started began"
)
PERIODS = word_set("year years month months quarter quarters period week weeks season")
#: Of these verbs of change, other senses are as common; these take an amount, or end what is said.
OTHERWISE = word_set("advanced advances contracted")

#: After these comes the older figure.
COMPARES = word_set("from against versus vs")
#: Where the object of a verb has ended.
STOPS = word_set(
    "to by from due because as on after amid thanks while and but or than in at with that which for against "
    "compared although however whereas despite , ; . : ( )"
)
#: What begins a clause with a subject of its own: "the loss widened as enrolments shrank".
SUBORDINATES = word_set("as because since after amid when where until")
#: With "up" or "down" these tell no change: "set up", "made up 9% of sales".
SET_UP = word_set("set sets setting make makes made making open opened sum summed back backed follow followed")
#: Of accounting policies, behind "is" or "are".
ACCOUNTS = word_set(
    "recognised recognized measured calculated defined tested assessed determined stated valued presented used "
    "charged amortised amortized depreciated"
)
#: Where a clause ends.
CLAUSE = word_set("; . while whereas although though but however :")

#: Terms of which one word has a tone elsewhere.
TERMS = frozenset(
    f"{first} {second}"
    for firsts, seconds in (
        ("strike", "price prices"),
        ("discontinued", "operations operation"),
        ("planned maintenance scheduled annual", "shutdown shutdowns stoppage closure"),
        ("risk crisis problem dispute fault", "management solving resolution finding factors"),
        ("loss", "account adjuster adjusters given event events ratio carry-forwards"),
        ("accident damage fire", "insurance insurer safety alarm alarms protection brigade doors fighting"),
        ("fraud damage loss accident", "prevention detection"),
        ("recovery", "boiler boilers plan plans facility plant system"),
        ("heat energy material disaster", "recovery"),
        ("crash stress impairment", "test tests testing"),
        ("secured", "notes bonds bond loan loans debt lenders creditors"),
        ("termination cancellation", "date fee fees clause"),
        ("good", "faith governance"),
        ("as", "well good"),
        ("well best", "as known practice practices"),
        ("stop", "loss"),
        ("negative", "pledge"),
        ("home", "improvement improvements"),
        ("strong stronger weak weaker", "euro dollar krona crown pound yen rouble currency currencies"),
        ("strike", "fund funds"),
        ("savings", "bank banks account accounts deposits"),
        ("cartel", "office offices"),
        ("from", "underperform outperform"),
        ("negative positive", "territory"),
        ("network system machine line software plant technology product", "upgrade upgrades"),
        ("volatility", "index"),
        ("top", "management executives executive floor"),
        ("shares share stock warrants options notes bonds", "outstanding"),
        ("exceptional", "item items cost costs charge charges"),
    )
    for first in firsts.split()
    for second in seconds.split()
)
_SYSTEMS = word_set(
    "network networks system systems machine machines line lines software plant mill equipment facilities technology "
    "version product products station stations platform infrastructure"
)
#: What an owner does with securities is an entry in a register, and a court that dismisses a claim rids of it.
TONELESS_WITH = {
    "cancellation": word_set("shares options warrants"),
    "cancelled": word_set("shares options warrants"),
    "cancel": word_set("shares options warrants"),
    "loss": word_set("certificate certificates"),
    "closure": word_set("window books register offer transaction deal acquisition sale"),
    "revoke": word_set("pledge pledges"),
    "revokes": word_set("pledge pledges"),
    "revoked": word_set("pledge pledges"),
    "upgrade": _SYSTEMS,
    "upgrades": _SYSTEMS,
    "upgraded": _SYSTEMS,
    "dismissed": word_set("claim claims suit suits lawsuit lawsuits case complaint complaints charges action appeal"),
}

#: Before a trouble: it is over.
ENDED = word_set(
    "resolved resolves settled settles solved ended ends overcame overcome averted averts avoided removed removes "
    "lifted lifts withdrew withdrawn withdraws dropped drops escaped escapes rid eliminated recovered cleared exits "
    "exited sale divestment disposal"
)
#: Before a trouble: something acts against it.
ENDING = word_set(
    "resolve resolving settle settling solve solving solves end ending avoid avoiding prevent prevents preventing "
    "eliminate eliminates eliminating remove removing minimise minimises minimize minimizes mitigate mitigates "
    "against protect protects protection detect detects detecting"
)
