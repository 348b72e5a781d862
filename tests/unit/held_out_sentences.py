"""240 sentences of company news, composed and labelled blind, by which the sentiment scorer is tested, never tuned.

They were written before their author had seen the scorer, its word lists or the sentences of the other tests, and
committed before the first score, so their labels owe nothing to what the scorer says. A label is the view of somebody
who holds the shares: positive and negative where the sentence by itself should move the holding's value, neutral
otherwise, a figure without a comparison and news that cancel out included; what prevails decides mixed news. The mix
of classes is the usual one of such corpora, 60% neutral, 28% positive and 12% negative. The companies are invented.
"""

HELD_OUT = (
    (
        "negative",
        (
            "Net sales at Torvik Shipping fell 14% to NOK 2.1 billion in the second quarter as spot rates for product "
            "tankers softened."
        ),
    ),
    ("negative", "EBIT shrank by nearly half, to EUR 3.2 mn, as pulp became more expensive."),
    ("negative", "Halbrook Foods cuts full-year guidance for second time, shares slump 11%"),
    (
        "negative",
        (
            "The company swung to a loss of $0.18 per share, against earnings of $0.07 per share in the corresponding "
            "quarter."
        ),
    ),
    ("negative", "Castellan to shut Zaragoza plant, axe 1,150 jobs"),
    ("negative", "Moody's lowered Brightwater Energy's senior unsecured rating to Ba2 and kept the outlook negative."),
    ("negative", "Indrayani Pharma gets USFDA warning letter for Baddi unit"),
    (
        "negative",
        (
            "A jury in Delaware ordered Sensora Medical to pay $212 million in damages for infringing two catheter "
            "patents."
        ),
    ),
    (
        "negative",
        (
            "Although orders picked up towards the end of the period, full-year earnings will remain clearly below "
            "those of 2022."
        ),
    ),
    ("negative", "No dividend will be proposed for the financial year because of the weak cash position."),
    ("negative", "The loss before taxes widened to SEK 48m from SEK 19m."),
    (
        "negative",
        (
            "Lindqvist & Holm's chief financial officer resigned with immediate effect amid an internal probe into "
            "revenue recognition."
        ),
    ),
    ("negative", "Sundaram Textiles Q3 PAT drops 37% YoY to Rs 41 crore; margins contract 320 bps"),
    ("negative", "Retail chain Penhaligon goes into administration, putting 4,300 jobs at risk"),
    (
        "negative",
        (
            "The order backlog at the end of September stood at EUR 640 million, down from EUR 815 million twelve "
            "months earlier."
        ),
    ),
    ("negative", "Vantoro Airlines passenger load factor slipped to 76.4 percent in November from 81.0 percent."),
    (
        "negative",
        ("The group warned that it might breach its leverage covenant in June unless lenders agree to a waiver."),
    ),
    ("negative", "Kestrel Bio's lung drug misses main goal in late-stage trial"),
    ("negative", "SEBI bars Marudhar Capital promoter from securities market for two years"),
    (
        "negative",
        (
            "Sales volumes in Russia have not recovered, and the company now expects to book an impairment of about "
            "30 million euros."
        ),
    ),
    (
        "negative",
        (
            "Aldermere Bank set aside an additional GBP 95 million for bad loans, more than twice what analysts had "
            "pencilled in."
        ),
    ),
    (
        "negative",
        (
            "The tender for the metro signalling system, which the company had hoped to win, went to a Spanish "
            "competitor."
        ),
    ),
    ("negative", "Orbis Chemicals halts production at Antwerp cracker after fire"),
    (
        "negative",
        (
            "Due to the strike at the port of Kotka, deliveries worth roughly EUR 20 million will slip into the next "
            "financial year."
        ),
    ),
    ("negative", 'Brokerage Whitcombe downgrades Nordhavn Wind to "sell" on overcapacity fears'),
    ("negative", "Revenue edged up 2%, but soaring freight costs wiped out the profit of the consumer division."),
    ("negative", "Recall of 62,000 pushchairs to cost Babylund EUR 9m"),
    ("negative", "Largest customer terminates supply agreement with Fenwick Castings"),
    ("negative", "Same-store sales decreased by 4.6 per cent and the gross margin deteriorated to 38.1 per cent."),
    (
        "positive",
        ("Operating profit for January-March was EUR 18.7 mn, having been EUR 12.4 mn in the first quarter of 2009."),
    ),
    ("positive", "Halden Robotics lands $140 mln order from German carmaker"),
    ("positive", "The bottom line for April to June came to DKK 212m, compared with DKK 164m a year earlier."),
    ("positive", "The board proposes raising the dividend to EUR 0.85 per share from EUR 0.70."),
    ("positive", "Meenakshi Cement Q1 net jumps 52% to Rs 318 crore on strong rural demand"),
    ("positive", "The company raised its full-year outlook and now expects comparable net sales to grow by 8-10%."),
    ("positive", "Pre-tax loss shrank to 1.1 million euros from 6.4 million euros."),
    ("positive", "Ironbridge Software beats Street estimates, lifts FY guidance"),
    (
        "positive",
        (
            "Under the seven-year agreement, worth an estimated EUR 75 million, Veritable Logistics will handle all "
            "of Morling's warehousing in the Benelux countries."
        ),
    ),
    ("positive", "EU approves Luminara migraine drug for adults"),
    ("positive", "Thanks to lower raw material costs, the gross margin improved by 2.3 percentage points."),
    ("positive", "Tarn Mining back in the black as Chile copper output hits record"),
    ("positive", "S&P upgrades Cordoba Telecom to BBB+ with stable outlook"),
    (
        "positive",
        (
            "The repurchase programme will be extended by $2 billion, reflecting the strength of the company's "
            "balance sheet."
        ),
    ),
    ("positive", "Despite the weak market, Kaskinen Boats increased its market share in all Nordic countries."),
    ("positive", "The court dismissed all claims brought against Pallas Insurance by former policyholders."),
    ("positive", "Order intake in the Energy segment was up by a fifth on last year."),
    ("positive", "Sahyadri Auto bags Rs 1,240-crore contract from Indian Railways"),
    (
        "positive",
        ("The new line will double the Poznań factory's capacity and bring annual savings of about PLN 40 million."),
    ),
    ("positive", "Comparable EBITDA came in at USD 96m, well ahead of the consensus of USD 88m."),
    ("positive", "Nordhavn Wind wins 320 MW turbine order in Brazil"),
    ("positive", "Wexley Hotels' occupancy climbed to 82 percent, from 74 percent in the previous summer."),
    ("positive", "Brokers raise price targets on Auriga after blowout quarter"),
    (
        "positive",
        (
            "Demand has picked up noticeably in North America, where the order book is now the fullest it has been in "
            "a decade."
        ),
    ),
    ("positive", "Subscribers top 5 million at Cordoba Telecom, up 24% in a year"),
    ("positive", "Fitch removed Delmarva Shipping from Rating Watch Negative after the refinancing was completed."),
    ("positive", "Paddock Foods said it no longer expects a material impact from the avian flu outbreak."),
    ("positive", "EPS: €0.41 (second quarter of previous year: €0.29)"),
    (
        "positive",
        (
            "The cost-cutting plan has advanced faster than planned, and the group will reach its savings target a "
            "year early."
        ),
    ),
    ("positive", "Riyadh metro picks Kallio as preferred supplier of lifts"),
    ("positive", "CloudHarbor turns profitable for first time since IPO"),
    ("positive", "Norwegian salmon farmer Havbruk Sør doubles quarterly dividend"),
    (
        "positive",
        (
            "With the sale of its unprofitable paint unit, Rensing expects its operating margin to rise by around one "
            "percentage point."
        ),
    ),
    ("positive", "Elevator parts maker Ruuvi said its loss for the period had narrowed to EUR 0.3 mn."),
    (
        "positive",
        ("Bhavani Steel's consolidated EBITDA margin expanded 410 basis points to 21.6% in the December quarter."),
    ),
    ("positive", "Regulator clears Thornbury-Apex merger without conditions"),
    (
        "positive",
        (
            "The partners expect the joint venture to cut the cost of battery cells by a third and to open up the "
            "U.S. market."
        ),
    ),
    (
        "positive",
        (
            "Shares of Meridian Labs surged 18% in premarket trading after the diabetes pill outperformed a rival's "
            "drug in a late-stage study."
        ),
    ),
    ("positive", "Vacancy in the office portfolio fell to 4.2% from 6.9%, and rents on new leases were 7% higher."),
    ("positive", "Net debt was reduced by GBP 130 million, taking leverage to 1.4 times EBITDA."),
    (
        "positive",
        ("Although sales declined slightly, profitability strengthened clearly thanks to a better product mix."),
    ),
    ("positive", "The contract, the largest in Salmela's history, covers 48 harbour cranes for the port of Santos."),
    (
        "positive",
        (
            "Sterling Grain said it had resolved the dispute with the tax authority and would receive a refund of $14 "
            "million."
        ),
    ),
    ("positive", "Ad revenue grows for sixth straight quarter at publisher Daglys"),
    ("positive", "Passenger traffic at Corvina Airports increased 11.8% year on year to 3.4 million in August."),
    ("positive", "Unit costs decreased 6 percent, mainly because of lower energy prices."),
    (
        "positive",
        ("The company's liquidity remained excellent and it had no interest-bearing debt at the end of the year."),
    ),
    ("positive", "Gross written premiums amounted to CHF 1.92bn, against CHF 1.75bn in the first half of last year."),
    ("positive", "Tessaract Semiconductors sees Q4 revenue above estimates on AI chip demand"),
    ("positive", "Ashgrove Care receives GBP 310 million takeover bid at a 41% premium"),
    (
        "positive",
        ("The mill, idle since last autumn, will restart in January and the laid-off workers will be called back."),
    ),
    ("positive", "Deepak Agro promoter revokes entire pledge, stock up 6%"),
    ("positive", "Adjusted free cash flow turned positive at €22 million (-€15 million)."),
    (
        "positive",
        (
            "Vilnius-based fintech Kasa has obtained a full banking licence, which allows it to take deposits across "
            "the EU."
        ),
    ),
    ("positive", "Return on capital employed was 17.8% (12.1%)."),
    ("positive", "Volumes recovered in the second half and the plants are again running at full capacity."),
    (
        "positive",
        ("The bank's impaired loans dropped to 1.9% of the book from 2.8% while net interest income advanced 13%."),
    ),
    ("positive", "Hollins wins patent fight over heat pumps"),
    (
        "positive",
        ("Management sees no need for further write-downs and reiterates that growth will accelerate next year."),
    ),
    ("positive", "Kirin Valley Wines' export sales nearly triple to AUD 61m"),
    (
        "positive",
        (
            "The pilot customers reported 30% fewer faults, and two of them have already ordered the system for all "
            "of their plants."
        ),
    ),
    ("positive", "Aalborg Pumps to hire 120 as demand grows"),
    ("positive", "Upgrade: Carrow & Pike lifts Seabourne REIT to Buy from Hold"),
    ("positive", "The operating loss for the quarter was EUR 0.9 mn; twelve months before it had been EUR 4.7 mn."),
    ("positive", "The agreement strengthens Optivo's position in the fast-growing market for remote diagnostics."),
    ("positive", "Order book hits all-time high at shipbuilder Garda"),
    ("positive", "In spite of currency headwinds, the division delivered its best result ever."),
    (
        "neutral",
        (
            "Founded in 1961, Ruuvi makes guide rails and brackets for lifts and employs some 340 people in Lahti and "
            "Tallinn."
        ),
    ),
    ("neutral", "The group operates 214 pharmacies in Poland, Lithuania and Latvia."),
    ("neutral", "Veritable Logistics is listed on Euronext Brussels under the ticker VRTL."),
    (
        "neutral",
        (
            "Headquartered in Pune, Sahyadri Auto supplies brake discs and axle assemblies to makers of commercial "
            "vehicles."
        ),
    ),
    (
        "neutral",
        (
            "Tarn Mining holds a 60% interest in the Cerro Pardo project; the remaining 40% belongs to the "
            "state-owned miner."
        ),
    ),
    ("neutral", "Fact box: Optivo's businesses and customers"),
    ("neutral", "Luminara develops and markets prescription medicines for diseases of the central nervous system."),
    ("neutral", "Net sales of the acquired business amounted to about EUR 11 million in 2021."),
    ("neutral", "Kaskinen Boats generated sales of EUR 48.3 million last year, of which exports accounted for 71%."),
    ("neutral", "The Packaging division has two business areas, Corrugated and Cartonboard."),
    ("neutral", "Meridian Labs has a market capitalisation of $3.6 billion."),
    ("neutral", "Aalborg Pumps' products are used in waterworks, breweries and ships."),
    ("neutral", "The turbines have a hub height of 140 metres and a rated output of 5.6 megawatts each."),
    ("neutral", "Pallas Insurance offers property, liability and motor cover through 1,900 agents."),
    ("neutral", "Its main competitors are Hollins in Britain and Grünwald in Austria."),
    (
        "neutral",
        (
            "Following the registration, the total number of shares in Optivo is 23,481,906, of which the company "
            "holds 112,400 as treasury shares."
        ),
    ),
    (
        "neutral",
        (
            "Larkspur Asset Management disclosed that its holding in Halden Robotics crossed the 5% threshold on 14 "
            "February."
        ),
    ),
    ("neutral", "The subscription price of the shares was EUR 7.12 apiece."),
    ("neutral", "Promoter holding in Meenakshi Cement at 54.21% as of December-end"),
    (
        "neutral",
        ("A total of 86,000 B shares were subscribed for with the 2018 option rights between 1 April and 30 June."),
    ),
    ("neutral", "After the transaction the fund owns 9.87% of the share capital and 8.02% of the voting rights."),
    ("neutral", "Each share entitles its holder to one vote at the general meeting."),
    ("neutral", "The nominal value of the share is CHF 0.50."),
    ("neutral", "Trading in the new shares is expected to begin on Nasdaq Helsinki on or about 22 May."),
    ("neutral", "Havbruk Sør: director Falk buys 2,000 shares at NOK 412"),
    ("neutral", "Wexley Hotels plc: Transaction in own shares"),
    ("neutral", "The largest shareholder is the Lindström family with 31 percent of the votes."),
    ("neutral", "Carrow & Pike reports 6.1% passive stake in Ironbridge Software"),
    (
        "neutral",
        ("The annual general meeting will be held at 10 a.m. on Thursday, 27 April, at the Marina Congress Centre."),
    ),
    ("neutral", "Auriga to report third-quarter results on October 29"),
    ("neutral", "Board meeting of Bhavani Steel scheduled for 9 November to consider unaudited results"),
    ("neutral", "The record date for the dividend is 4 May and it will be paid on 15 May."),
    (
        "neutral",
        (
            "A conference call for analysts will start at 14:00 CET; dial-in details can be found on the company's "
            "website."
        ),
    ),
    ("neutral", "Deepak Agro fixes September 12 as record date for stock split"),
    ("neutral", "The interim report for January-March will be published on 26 April at about 8.30 a.m."),
    ("neutral", "Notice to convene the extraordinary general meeting of Daglys"),
    ("neutral", "Shareholders who wish to attend must register no later than 11 April."),
    ("neutral", "Tessaract's fiscal year ends on the last Saturday of September."),
    ("neutral", "Chief executive Mark Ellery will speak at the Rotterdam Industrials Conference on Tuesday."),
    (
        "neutral",
        (
            "Anna-Leena Virtanen, M.Sc. (Econ.), has been appointed head of human resources and a member of the "
            "executive team as of 1 August."
        ),
    ),
    ("neutral", "Seabourne REIT names Priya Raman chief financial officer"),
    ("neutral", "Outgoing chairman Piet de Groot, 68, has led the board since 2011."),
    (
        "neutral",
        (
            "The nomination committee proposes that the number of directors be seven and that all current members be "
            "re-elected."
        ),
    ),
    ("neutral", "She joins from Grünwald, where she ran the Asian business for six years."),
    ("neutral", "Cordoba Telecom CEO Ruiz to retire next spring; search under way"),
    ("neutral", "The current head of the unit, Jarmo Kallio, will move to other duties within the group."),
    ("neutral", "KPMG was re-elected as auditor for a term ending at the close of the next annual meeting."),
    ("neutral", "The price was kept confidential at the seller's request."),
    ("neutral", "Rensing sells paint unit to Dutch buyout fund"),
    (
        "neutral",
        (
            "The transaction is subject to approval by the competition authorities and is expected to close in the "
            "first quarter."
        ),
    ),
    ("neutral", "Thornbury acquires 51% of Estonian parcel-locker operator"),
    ("neutral", "The acquired company employs 64 people and will be consolidated from 1 July."),
    ("neutral", "Havbruk Sør has signed a letter of intent to buy a smolt facility in Hordaland."),
    ("neutral", "Fenwick Castings to merge two subsidiaries"),
    ("neutral", "The purchase price of GBP 27 million will be paid in cash at closing."),
    ("neutral", "Oxbow Partners acted as financial adviser to the seller."),
    ("neutral", "Apex shareholders will receive 0.42 Thornbury share for each share they hold."),
    ("neutral", "The deal has no impact on the company's guidance for the current year."),
    ("neutral", "Brightwater in talks to sell Scottish hydro assets, source says"),
    ("neutral", "Net sales were at the previous year's level, EUR 102.4 million (EUR 102.1 million)."),
    ("neutral", "The outlook for 2024 is unchanged."),
    ("neutral", "The average number of employees was 1,274, compared with 1,268 a year earlier."),
    ("neutral", "Gross investments in the review period amounted to EUR 6.3 million."),
    ("neutral", "Financial expenses totalled EUR 1.2 mn."),
    ("neutral", "The tax rate for the quarter was 24.5 percent."),
    ("neutral", "Nine-month revenue SEK 3,912m"),
    ("neutral", "Cash and cash equivalents at the end of the period stood at $418.6 million."),
    ("neutral", "Depreciation and amortisation amounted to INR 2.4 billion."),
    ("neutral", "Kallio Engineering reports first-quarter net sales of EUR 58 million"),
    ("neutral", "The board proposes that a dividend of EUR 0.24 per share be paid, the same as for the previous year."),
    ("neutral", "Orbis Chemicals keeps 2025 guidance unchanged"),
    ("neutral", "Capital expenditure is estimated at USD 350-370 million for the full year."),
    ("neutral", "The comparison figures for 2019 have been restated to reflect the discontinued operations."),
    ("neutral", "Figures in brackets refer to the same period of the previous year."),
    ("neutral", "Under the dividend policy at least 40% of net income is paid out over the cycle."),
    ("neutral", "Of the order, EUR 3 million will be booked in the fourth quarter and the rest next year."),
    ("neutral", "The book value of the divested real estate was EUR 8.8 million."),
    ("neutral", "Results are unaudited and prepared in accordance with IAS 34."),
    ("neutral", "Goodwill is tested for impairment annually, in the fourth quarter."),
    ("neutral", "Provisions for losses on loans are calculated under a three-stage model."),
    (
        "neutral",
        (
            "These statements involve risks and uncertainties that could cause actual results to differ materially "
            "from expectations."
        ),
    ),
    ("neutral", "The company does not comment on market rumours."),
    ("neutral", "Growth in the division depends on the level of construction in the Nordic countries."),
    ("neutral", "A loss event is defined in the policy as damage exceeding EUR 1 million."),
    ("neutral", "The new distribution centre in Venlo covers 38,000 square metres and will be ready in autumn 2025."),
    ("neutral", "Babylund launches folding pushchair in Japan"),
    ("neutral", "Hollins unveils heat pump for apartment blocks at Frankfurt fair"),
    ("neutral", "Construction of the plant will start in March and take roughly two years."),
    ("neutral", "Indrayani to set up formulation unit in Vizag at cost of Rs 180 crore"),
    ("neutral", "Garda to name cruise ferry in Turku on May 6"),
    ("neutral", "Kasa app now available in Portuguese"),
    ("neutral", "Paddock Foods rebrands ready-meal range"),
    ("neutral", "Vantoro to move Lisbon flights to Terminal 2 from October"),
    ("neutral", "The maintenance shutdown at the Oulu mill lasts ten days, as in earlier years."),
    ("neutral", "Production of the current model ends in December, when its successor comes on stream."),
    ("neutral", "The pilot plant uses about 4,000 tonnes of straw a year."),
    ("neutral", "Castellan van to come with diesel, hybrid and electric drive"),
    ("neutral", "The EUR 200 million bond carries a coupon of 3.875% and matures on 18 September 2029."),
    ("neutral", "Aldermere Bank prices $750 mln of five-year senior notes at 95 bps over Treasuries"),
    ("neutral", "The revolving credit facility replaces one that was due in 2023."),
    ("neutral", "Fitch affirms Corvina Airports at A-; outlook stable"),
    ("neutral", "Mutual fund firm Larkspur files prospectus for index fund tracking mid-caps"),
    ("neutral", "The convertible notes may be exchanged for shares at $31.40."),
    ("neutral", "Marudhar Capital board to consider raising funds via NCDs on Friday"),
    ("neutral", "Lenders in the syndicate include three Nordic banks."),
    ("neutral", "Whitcombe reiterates Hold on Salmela, target EUR 21"),
    ("neutral", "Patent case against Sensora Medical: High Court hearing set for June 3"),
    ("neutral", "Ashgrove Care files annual report"),
    ("neutral", "Torvik's arbitration with the shipyard is ongoing, and no decision is expected before the autumn."),
    ("neutral", "The competition authority opened its routine review of the merger on Monday."),
    ("neutral", "Denmark's Babylund was represented in the proceedings by the law firm Krag."),
    ("neutral", "The new collective agreement covers 2,900 employees and runs until the end of 2026."),
    ("neutral", "About 400 of the unit's staff work in Chennai."),
    ("neutral", "The transferred employees keep their current terms of employment."),
    ("neutral", "Asian shares mixed ahead of Fed minutes"),
    ("neutral", "The OMX Copenhagen 20 closed at 1,914 points."),
    ("neutral", "In Sweden the market for heat pumps totals about 100,000 units a year."),
    ("neutral", "Rupee ends at 83.12 against US dollar"),
    ("neutral", "Stocks to watch: Sahyadri Auto, Meenakshi Cement, Kasa"),
    ("neutral", "Poll: analysts expect Daglys sales of EUR 91 million on average"),
    ("neutral", "The agreement is for three years with an option for two more."),
    ("neutral", "The delivery includes design, installation and training of staff."),
    ("neutral", "Kallio's share of the consortium's contract is 35 percent."),
    ("neutral", "Contract value is not disclosed"),
    ("neutral", "Optivo and the University of Turku to study sensor materials together"),
    ("neutral", "The framework agreement does not bind the customer to any minimum purchases."),
    ("neutral", "Auriga renews lease on Dublin head office"),
    ("neutral", "What to expect from Tessaract's earnings"),
    ("neutral", "Q&A: Kasa founder on life after the listing"),
    ("neutral", "The shares will be quoted without the right to the dividend from 28 April."),
    ("neutral", "Delmarva Shipping changes its name to Delmarva Marine"),
    ("neutral", "Sundaram Textiles: intimation of loss of share certificates"),
    ("neutral", "Penhaligon's stores are open from nine to nine on weekdays."),
    ("neutral", "The strike price of the options is the volume-weighted average in February plus 10 percent."),
    ("neutral", "The cancellation of 500,000 treasury shares was entered in the Trade Register on 3 January."),
    ("neutral", "Profit-sharing bonuses for 2020 will be paid to personnel in March."),
    ("neutral", "The chain plans to open 12 stores and close four during the year."),
    ("neutral", "Sterling Grain's silos hold 220,000 tonnes."),
    ("neutral", "Interest on the loan is tied to six-month Euribor."),
    ("neutral", "Sales in Europe rose by 3% while those in Asia fell by about the same amount."),
    ("neutral", "Higher volumes were offset by lower prices, leaving operating profit flat at USD 54 million."),
    ("neutral", "It is too early to say how the tariff change will affect the company, according to its spokesman."),
    ("neutral", "Nothing in the review points to a need to revise the earlier estimates, the auditor's note says."),
    ("neutral", "Kestrel Biosciences to present KB-417 trial design at Vienna congress"),
)
