-- A journal of schema version 1 as a runner wrote it: what migrations start from. Never changed.
BEGIN TRANSACTION;
CREATE TABLE adjustments (
	adjustment_id TEXT NOT NULL, 
	position_id TEXT NOT NULL, 
	time INTEGER NOT NULL, 
	realized TEXT NOT NULL, 
	PRIMARY KEY (adjustment_id), 
	CONSTRAINT adjustment_id_given CHECK (length(adjustment_id) > 0), 
	CONSTRAINT realized_number CHECK (realized NOT GLOB '*[^0-9.-]*' AND realized GLOB '*[0-9]*')
)
 STRICT

;
INSERT INTO "adjustments" VALUES('split:p-a:2026-03-02','p-a',1772463600000000,'0');
CREATE TABLE day_starts (
	day TEXT NOT NULL, 
	equity TEXT NOT NULL, 
	PRIMARY KEY (day), 
	CONSTRAINT is_date CHECK (day GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'), 
	CONSTRAINT equity_number CHECK (equity NOT GLOB '*[^0-9.-]*' AND equity GLOB '*[0-9]*')
)
 STRICT

;
INSERT INTO "day_starts" VALUES('2026-03-02','100000.50');
CREATE TABLE fills (
	execution_id TEXT NOT NULL, 
	order_ref TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	side TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	price TEXT NOT NULL, 
	commission TEXT NOT NULL, 
	time INTEGER NOT NULL, 
	position_id TEXT NOT NULL, 
	realized TEXT NOT NULL, 
	PRIMARY KEY (execution_id), 
	CONSTRAINT execution_id_given CHECK (length(execution_id) > 0), 
	CONSTRAINT side_known CHECK (side IN ('Buy', 'Sell')), 
	CONSTRAINT quantity_number CHECK (quantity NOT GLOB '*[^0-9.-]*' AND quantity GLOB '*[0-9]*' AND CAST(quantity AS REAL) > 0), 
	CONSTRAINT price_number CHECK (price NOT GLOB '*[^0-9.-]*' AND price GLOB '*[0-9]*' AND CAST(price AS REAL) >= 0), 
	CONSTRAINT commission_number CHECK (commission NOT GLOB '*[^0-9.-]*' AND commission GLOB '*[0-9]*'), 
	CONSTRAINT realized_number CHECK (realized NOT GLOB '*[^0-9.-]*' AND realized GLOB '*[0-9]*')
)
 STRICT

;
INSERT INTO "fills" VALUES('x1','ob1.rqxfrjxf.a','AAPL','Buy','10','100','1.00',1772463600000000,'p-a','0');
INSERT INTO "fills" VALUES('x2','ob1.rqxfrjxf.c','AAPL','Sell','20','52','1.00',1772463660000000,'p-a','40');
INSERT INTO "fills" VALUES('x3','ob1.rqxfrjxf.b','MSFT','Buy','4','90.5','1.00',1772463670000000,'p-b','0');
CREATE TABLE intents (
	order_ref TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	strategy TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	side TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	position_id TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	bar_time INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	reference_price TEXT NOT NULL, 
	order_type TEXT NOT NULL, 
	limit_price TEXT, 
	stop_price TEXT, 
	time_in_force TEXT NOT NULL, 
	exits TEXT NOT NULL, 
	confidence REAL NOT NULL, 
	state TEXT NOT NULL, 
	filled TEXT NOT NULL, 
	reported TEXT NOT NULL, 
	average_price TEXT NOT NULL, 
	broker_order_id TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	is_open INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (order_ref), 
	CONSTRAINT order_ref_length CHECK (length(order_ref) BETWEEN 1 AND 32), 
	CONSTRAINT names_given CHECK (length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0), 
	CONSTRAINT kind_known CHECK (kind IN ('Entry', 'Exit')), 
	CONSTRAINT side_known CHECK (side IN ('Buy', 'Sell')), 
	CONSTRAINT order_type_known CHECK (order_type IN ('Market', 'Limit', 'Stop')), 
	CONSTRAINT time_in_force_known CHECK (time_in_force IN ('Day', 'GTC', 'IOC')), 
	CONSTRAINT state_known CHECK (state IN ('Intended', 'Doubtful', 'Working', 'Filled', 'Cancelled', 'Rejected', 'Withdrawn')), 
	CONSTRAINT quantity_number CHECK (quantity NOT GLOB '*[^0-9.-]*' AND quantity GLOB '*[0-9]*' AND CAST(quantity AS REAL) > 0), 
	CONSTRAINT reference_price_number CHECK (reference_price NOT GLOB '*[^0-9.-]*' AND reference_price GLOB '*[0-9]*' AND CAST(reference_price AS REAL) >= 0), 
	CONSTRAINT filled_number CHECK (filled NOT GLOB '*[^0-9.-]*' AND filled GLOB '*[0-9]*' AND CAST(filled AS REAL) >= 0), 
	CONSTRAINT reported_number CHECK (reported NOT GLOB '*[^0-9.-]*' AND reported GLOB '*[0-9]*' AND CAST(reported AS REAL) >= 0), 
	CONSTRAINT average_price_number CHECK (average_price NOT GLOB '*[^0-9.-]*' AND average_price GLOB '*[0-9]*' AND CAST(average_price AS REAL) >= 0), 
	CONSTRAINT limit_has_price CHECK ((order_type = 'Limit') = (limit_price IS NOT NULL)), 
	CONSTRAINT stop_has_price CHECK ((order_type = 'Stop') = (stop_price IS NOT NULL)), 
	CONSTRAINT epoch_begun CHECK (epoch >= 1), 
	CONSTRAINT confidence_range CHECK (confidence BETWEEN 0 AND 1), 
	CONSTRAINT is_open_flag CHECK (is_open IN (0, 1)), 
	CONSTRAINT working_is_open CHECK (is_open = 1 OR state IN ('Filled', 'Cancelled', 'Rejected', 'Withdrawn'))
)
 STRICT

;
INSERT INTO "intents" VALUES('ob1.rqxfrjxf.a','Entry','trend','AAPL','Buy','10','p-a','rising',1772463600000000,1772463600000000,3,'100.25','Market',NULL,NULL,'Day','',0.0,'Filled','10','10','100','b1','',0,1772463600000000);
INSERT INTO "intents" VALUES('ob1.rqxfrjxf.b','Entry','trend','MSFT','Buy','10','p-b','it''s "cheap"; rising',1772463600000000,1772463600000000,3,'100.25','Limit','90.5',NULL,'Day','',0.0,'Working','4','4','90.5','','',1,1772463600000000);
INSERT INTO "intents" VALUES('ob1.rqxfrjxf.c','Exit','trend','AAPL','Sell','10','p-a','TAKE_PROFIT',1772463600000000,1772463600000000,3,'100.25','Market',NULL,NULL,'Day','',0.0,'Filled','20','20','52','','',0,1772463600000000);
CREATE TABLE journal (
	id INTEGER NOT NULL, 
	schema_version INTEGER NOT NULL, 
	owner_tag TEXT, 
	epoch INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_row CHECK (id = 1), 
	CONSTRAINT owner_tag_length CHECK (owner_tag IS NULL OR length(owner_tag) = 8), 
	CONSTRAINT epoch_not_negative CHECK (epoch >= 0)
)
 STRICT

;
INSERT INTO "journal" VALUES(1,1,'rqxfrjxf',3,1772463600000000);
CREATE TABLE parameters (
	strategy TEXT NOT NULL, 
	type TEXT NOT NULL, 
	document TEXT NOT NULL, 
	updated_at INTEGER NOT NULL, 
	PRIMARY KEY (strategy), 
	CONSTRAINT names_given CHECK (length(strategy) > 0 AND length(type) > 0), 
	CONSTRAINT is_json CHECK (json_valid(document))
)
 STRICT

;
INSERT INTO "parameters" VALUES('trend','Momentum','{"lookback": 5}',1772463600000000);
CREATE TABLE positions (
	position_id TEXT NOT NULL, 
	strategy TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	average_price TEXT NOT NULL, 
	opened_at INTEGER NOT NULL, 
	policy TEXT NOT NULL, 
	best_price TEXT NOT NULL, 
	exit_sequence INTEGER NOT NULL, 
	realized_pnl TEXT NOT NULL, 
	fees TEXT NOT NULL, 
	opened_quantity TEXT NOT NULL, 
	opened_notional TEXT NOT NULL, 
	closed_notional TEXT NOT NULL, 
	is_open INTEGER NOT NULL, 
	PRIMARY KEY (position_id), 
	CONSTRAINT names_given CHECK (length(symbol) > 0 AND length(strategy) > 0 AND length(position_id) > 0), 
	CONSTRAINT quantity_number CHECK (quantity NOT GLOB '*[^0-9.-]*' AND quantity GLOB '*[0-9]*'), 
	CONSTRAINT average_price_number CHECK (average_price NOT GLOB '*[^0-9.-]*' AND average_price GLOB '*[0-9]*' AND CAST(average_price AS REAL) >= 0), 
	CONSTRAINT best_price_number CHECK (best_price NOT GLOB '*[^0-9.-]*' AND best_price GLOB '*[0-9]*' AND CAST(best_price AS REAL) >= 0), 
	CONSTRAINT realized_pnl_number CHECK (realized_pnl NOT GLOB '*[^0-9.-]*' AND realized_pnl GLOB '*[0-9]*'), 
	CONSTRAINT fees_number CHECK (fees NOT GLOB '*[^0-9.-]*' AND fees GLOB '*[0-9]*'), 
	CONSTRAINT opened_quantity_number CHECK (opened_quantity NOT GLOB '*[^0-9.-]*' AND opened_quantity GLOB '*[0-9]*' AND CAST(opened_quantity AS REAL) >= 0), 
	CONSTRAINT opened_notional_number CHECK (opened_notional NOT GLOB '*[^0-9.-]*' AND opened_notional GLOB '*[0-9]*' AND CAST(opened_notional AS REAL) >= 0), 
	CONSTRAINT closed_notional_number CHECK (closed_notional NOT GLOB '*[^0-9.-]*' AND closed_notional GLOB '*[0-9]*' AND CAST(closed_notional AS REAL) >= 0), 
	CONSTRAINT exit_sequence_not_negative CHECK (exit_sequence >= 0), 
	CONSTRAINT flat_is_closed CHECK (is_open = (CAST(quantity AS REAL) <> 0))
)
 STRICT

;
INSERT INTO "positions" VALUES('p-a','trend','AAPL','0','50',1772463600000000,'{"flatBeforeCloseSeconds":0,"maxHoldingSeconds":0,"stopLoss":0.02,"takeProfit":0.04,"trailing":null}','100',1,'40','2','10','1000','0',0);
INSERT INTO "positions" VALUES('p-b','trend','MSFT','4','90.5',1772463670000000,'{"flatBeforeCloseSeconds":0,"maxHoldingSeconds":0,"stopLoss":0.02,"takeProfit":0.04,"trailing":null}','100',0,'0','0','4','362','0',1);
CREATE TABLE statistics (
	id INTEGER NOT NULL, 
	document TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_row CHECK (id = 1), 
	CONSTRAINT is_json CHECK (json_valid(document))
)
 STRICT

;
INSERT INTO "statistics" VALUES(1,'{"started_at":1772463600000000,"strategies":{},"total":{"errors":0,"evaluations_run":5,"exits_executed":0,"last_evaluation":null,"last_trade":null,"reasons":{},"signals_generated":0,"trades_executed":2,"trades_rejected":0}}');
CREATE TABLE trades (
	closed_by TEXT NOT NULL, 
	position_id TEXT NOT NULL, 
	strategy TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	quantity TEXT NOT NULL, 
	entry_time INTEGER NOT NULL, 
	entry_price TEXT NOT NULL, 
	exit_time INTEGER NOT NULL, 
	exit_price TEXT NOT NULL, 
	exit_reason TEXT NOT NULL, 
	pnl TEXT NOT NULL, 
	fees TEXT NOT NULL, 
	PRIMARY KEY (closed_by), 
	CONSTRAINT quantity_number CHECK (quantity NOT GLOB '*[^0-9.-]*' AND quantity GLOB '*[0-9]*' AND CAST(quantity AS REAL) <> 0), 
	CONSTRAINT entry_price_number CHECK (entry_price NOT GLOB '*[^0-9.-]*' AND entry_price GLOB '*[0-9]*' AND CAST(entry_price AS REAL) >= 0), 
	CONSTRAINT exit_price_number CHECK (exit_price NOT GLOB '*[^0-9.-]*' AND exit_price GLOB '*[0-9]*' AND CAST(exit_price AS REAL) >= 0), 
	CONSTRAINT pnl_number CHECK (pnl NOT GLOB '*[^0-9.-]*' AND pnl GLOB '*[0-9]*'), 
	CONSTRAINT fees_number CHECK (fees NOT GLOB '*[^0-9.-]*' AND fees GLOB '*[0-9]*')
)
 STRICT

;
INSERT INTO "trades" VALUES('x2','p-a','trend','AAPL','10',1772463600000000,'100',1772463660000000,'104','TAKE_PROFIT','38','2');
CREATE INDEX intents_open ON intents (is_open);
CREATE INDEX intents_created ON intents (created_at);
CREATE INDEX positions_open ON positions (is_open);
CREATE INDEX fills_time ON fills (time);
CREATE INDEX fills_order ON fills (order_ref);
CREATE INDEX trades_exit ON trades (exit_time);
COMMIT;
