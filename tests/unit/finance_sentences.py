"""Sentences of company news with the label that an investor would give, composed for these tests (none is quoted).

They were written after the first lexicon, whose errors here have been mended since: they guard against steps back and
say nothing of texts unseen (that is `held_out_sentences.py`). Classes stand in about the proportion of such news: most
of it is neutral.
"""

from __future__ import annotations

POSITIVE = """\
Operating profit climbed to EUR 24.6 mn from EUR 19.1 mn in the same quarter of the previous year .
Net sales of the Packaging division grew by 11 % to EUR 88.4 mn .
The group's pre-tax profit was EUR 5.2 million , compared with EUR 3.9 million a year earlier .
Earnings per share rose to EUR0 .42 from EUR0 .31 .
The operating loss narrowed to EUR 0.4 mn from EUR 2.7 mn .
Net loss shrank to SEK 12 mn ( EUR 1.3 mn ) from SEK 45 mn a year ago .
The company made a profit of EUR 1.1 mn against a loss of EUR 0.6 mn in 2008 .
Turnover totalled EUR 310m , up from EUR 287m in the first half of 2006 .
The lift maker has won an order to equip three office towers in Warsaw .
A Norwegian shipyard has placed an order for four propulsion units with the company .
Valmora has signed a five-year contract with the city of Turku on maintenance of street lighting .
The company was selected as the supplier of the control system for the new power plant .
The order intake increased in all business areas .
Order backlog at the end of June was 14 % higher than a year before .
The board proposes a dividend of EUR 0.60 per share , up from EUR 0.45 .
Market share in Estonia rose to 31 % from 28 % .
The bank raised its forecast for the full year after a strong quarter .
Full-year guidance was raised on improved demand for rolled steel .
Quarterly earnings beat analysts' expectations .
The result was clearly better than expected , the broker said .
Shares in the tyre maker jumped 6 % after the announcement .
The stock closed up 2.4 % at EUR 17.35 .
We are very pleased with the development of our export business , said the managing director .
The new mill will improve the efficiency of production and reduce energy consumption .
Annual cost savings of about EUR 8 million are expected from the programme .
Unit costs decreased by 4 % thanks to better purchasing .
The number of passengers increased 9 % in May .
The analyst upgraded the share to buy from hold .
Profitability improved markedly in the Baltic countries .
Cash flow from operating activities was EUR 31 mn , compared to EUR 12 mn the year before .
The airline's load factor improved to 79.3 % .
The company returned to profit in the last quarter .
Sales of smartphones doubled to 4.1 million units from 2.0 million units .
The company expects its net sales to grow by at least 10 % in 2011 .
The acquisition strengthens our position in the Russian market considerably .
It has been awarded a contract to supply turbines worth USD 40 million .
Diesel engine deliveries rose significantly from the year before .
Demand for office space in Helsinki has remained strong .
Revenue in the service business went up by 7 per cent to EUR 61 million .
Gross margin widened to 38.2 % from 35.9 % .
The group received approval from the authorities for its new heart drug .
The company's bad debts fell by a third and gearing dropped to 41 % from 66 % .
The new terminal doubles the handling capacity of the port and shortens delivery times .
Lower raw material prices supported the result of the paint business .
The pilot was a success and the customer will extend the contract to all its stores ."""

NEGATIVE = """\
Operating profit fell to EUR 7.1 mn from EUR 10.8 mn in the corresponding quarter .
Net sales dropped by 23 % to EUR 54.0 mn .
The company posted a pretax loss of EUR 3.3 mn , compared with a profit of EUR 2.5 mn a year earlier .
The operating loss widened to EUR 6.2 mn from EUR 1.9 mn .
EPS came in at EUR 0.11 , down from EUR 0.27 .
It swung to a net loss of SEK 80 mn in the second quarter .
The sawmill will lay off 60 workers for an indefinite period .
The retailer is to cut 140 jobs at its head office .
Personnel negotiations will begin at the Oulu unit next week .
The company issued a profit warning on Thursday .
Order intake weakened clearly in the fourth quarter .
The demand for containerboard remained weak throughout the year .
Shares in the shipyard plunged 11 % after the news .
The stock fell 3.1 % to EUR 9.40 .
Higher fuel costs burdened the airline's result .
Raw material prices rose sharply , which weakened profitability .
The broker downgraded the share to sell .
Quarterly sales missed analysts' forecasts .
The company lowered its outlook for the rest of the year .
Market share in Sweden decreased to 12 % from 15 % .
The plant in Kotka will be closed at the end of the year .
The customer has cancelled its order for two vessels .
A fire at the warehouse caused damage worth EUR 4 million .
The strike halted production at both mills for eight days .
Unemployment in the region has risen and retail trade is suffering ."""

NEUTRAL = """\
The company's headquarters are located in Espoo .
Valmora Oyj will publish its interim report on 22 April at 9 a.m.
The value of the contract was not disclosed .
The parties have agreed not to disclose the purchase price .
The annual general meeting will be held in Tampere on 3 April 2008 .
The group has some 4,200 employees in 18 countries .
Net sales of the acquired business were EUR 14 mn in 2006 .
The company's shares are listed on the Helsinki stock exchange .
The transaction is expected to be completed by the end of June .
The investment is worth a total of EUR 35 million .
The board of directors proposes that a dividend of EUR 0.20 per share be paid for 2007 .
Mr Heikki Laine has been appointed director of the unit as of 1 March .
He will report to the chief executive officer .
The holding of the investor corresponds to 5.02 % of the votes .
Its stake in the company rose to 10.4 % from 9.8 % .
Following the share issue the number of shares increased to 42,300,000 .
The increase in share capital was entered in the trade register on Monday .
The factory makes doors and windows .
Construction of the hotel will start in August and take about 14 months .
The new store has a floor area of 3,500 square metres .
The subsidiary will be merged into the parent company .
The company supplies pumps , valves and pipes to process industries .
The service is available in Finnish , Swedish and English .
Deliveries will take place between October 2009 and March 2010 .
The agreement covers technical maintenance of 12 buildings .
The deal is subject to approval by the competition authority .
The terms of the transaction were not revealed .
The company operates 230 shops in Finland , Estonia and Latvia .
In 2006 , the group's turnover was EUR 1.2 billion .
The bond has a maturity of five years and a coupon of 4.75 % .
The loan will be used for refinancing and general corporate purposes .
A press conference will be arranged at the company's office at 12 noon .
Further information can be found on the company's website .
The ship is 290 metres long and can carry 3,600 passengers .
The office building will be completed in the autumn of 2011 .
The company was established in 1954 and is owned by a family .
The seller is a private equity fund .
The engine has an output of 12 megawatts .
The company has production in Poland and sales offices in Germany and France .
The name of the buyer has not been made public .
Trading in the share will begin on 12 May under the symbol VLM1V .
The subscription price is EUR 6.10 per share .
The members of the board were re-elected for a term of one year .
The auditors are authorised public accountants .
The software is used for the design of steel structures .
The project is part of a research programme funded by the EU .
The plant will use wood chips and peat as fuel .
The company will move to new premises in Vantaa .
The group consists of four divisions : Paper , Board , Energy and Wood .
The option rights entitle to subscribe for a total of 900,000 shares .
The vessel will operate between Helsinki and Stockholm .
The area has space for about 600 homes .
The lease agreement runs for ten years .
The company sold its real estate in Porvoo to a pension fund .
The arrangement has no effect on the company's result for the year .
The figures are unaudited .
Analysts polled by the news agency had a median forecast of EUR 96 million .
The company plans to build a warehouse next to the harbour .
The city council will decide on the matter in September .
The financial year of the company ends on 31 December .
The technology measures the thickness of a coating without contact .
The campaign will be seen on television and in newspapers .
Its customers include mobile operators , banks and public authorities .
The stores will be opened in stages during 2008 .
Earlier , the company announced that it was looking into the sale of the unit .
The estimate is based on the exchange rates of the end of March .
The company's largest owner is a foundation .
The report contains the financial statements and a review by the board .
Production of the model started in 2004 at the Uusikaupunki plant .
The product range comprises more than 300 items .
Sales are handled by a network of independent dealers .
The training is meant for engineers and supervisors .
The building permit was applied for in January .
The power line runs from Olkiluoto to Huittinen .
The company uses the percentage-of-completion method .
The right to dividend begins when the shares have been registered .
According to the ministry , the licence covers four frequency bands .
The competitor is based in Munich and belongs to a Swiss group .
The paper machine produces 420,000 tonnes of magazine paper a year .
The agreement expires at the end of 2012 .
The trade union and the employers will meet again on Thursday .
The company acquired the remaining 40 % of the shares in its Polish unit .
The offer period runs from 2 June to 7 July .
The chairman said that no decisions had been made .
The company is considering different alternatives for the site .
The operating segment Energy is reported separately as of the first quarter .
Some 60 % of sales come from outside Finland .
The price per share in the offer is EUR 19.00 in cash .
The fund invests in small companies in the Nordic countries .
The shopping centre is visited by five million people a year .
The unit's operating profit was EUR 2.0 million in 2009 .
The company employs 95 people and its net sales amounted to EUR 11 million in 2008 .
The share of renewable energy in the company's heat production is 46 % .
Installation work will be carried out by a local partner .
The bank acts as the lead manager of the issue .
The new chief financial officer joins the company from a consulting firm ."""


def labelled() -> list[tuple[str, str]]:
    """(text, label) of all of them."""
    groups = (("positive", POSITIVE), ("negative", NEGATIVE), ("neutral", NEUTRAL))
    return [(text, label) for label, texts in groups for text in texts.split("\n")]
